"""Soft-TIFA, the rule of GenEval 2: the judge's probability of each atom's right answer, and their geometric mean."""

import numpy as np
from scipy.stats import gmean

from .answers import Answers
from .score import CategorySums, Score


def official(suite, answers, images):
    """Overall is Soft-TIFA GM, the mean over prompts of the geometric mean over atoms; others has Soft-TIFA AM.

    Categories are the arithmetic means by skill, and the geometric ones by atomicity.
    """
    return _score("official", suite, answers, images)


def corrected(suite, answers, images):
    """The same: nothing is known to be wrong with the official rule."""
    return _score("corrected", suite, answers, images)


def _score(rule, suite, answers, images):
    complete = Answers(suite, answers, images)
    prompts, sums, arithmetic = {}, CategorySums(), []
    for prompt in suite.prompts:
        pictures, means = [], []
        for index in range(images):
            atoms = [complete.probability(prompt, index, question) for question in prompt.questions]
            pictures.append(0.0 if min(atoms) <= 0 else float(gmean(atoms)))
            means.append(sum(atoms) / len(atoms))
            for question, atom in zip(prompt.questions, atoms):
                sums.add(question.category, prompt.id, [atom])
        sums.add(prompt.category, prompt.id, pictures)
        prompts[prompt.id] = 100 * sum(pictures) / len(pictures)
        arithmetic.append(100 * sum(means) / len(means))
    others = {"soft_tifa_am": float(np.mean(arithmetic))}
    return Score(rule, float(np.mean(list(prompts.values()))), sums.means(), prompts, sums.parts, others=others)

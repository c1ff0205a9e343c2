"""The rule of T2I-CompBench, by categories.

Attributes (color, shape, texture): the product of BLIP's P(yes) over a prompt's noun phrases. spatial: the score of
spatial_relation.py. non_spatial: CLIP's cosine. complex: the mean of those of the three that the prompt is made of.
"""

from __future__ import annotations

import math

import numpy as np

from .answers import Answers
from .score import CategorySums, Score


def official(suite, answers, images):
    """As published, where products are written with four digits before they are averaged."""
    return _score("official", suite, answers, images, digits=4)


def corrected(suite, answers, images):
    """The same without the rounding."""
    return _score("corrected", suite, answers, images)


def _score(rule, suite, answers, images, digits=None):
    complete = Answers(suite, answers, images)
    prompts, sums, tasks = {}, CategorySums(), {}
    for prompt in suite.prompts:
        pictures = []
        for index in range(images):
            parts = {}
            for question in prompt.questions:
                parts.setdefault(question.category, []).append(complete.probability(prompt, index, question))
            if digits is not None and "attribute" in parts:
                parts["attribute"] = [round(math.prod(parts["attribute"]), digits)]
            pictures.append(float(np.mean([math.prod(values) for values in parts.values()])))
        sums.add(prompt.category, prompt.id, pictures)
        prompts[prompt.id] = 100 * sum(pictures) / len(pictures)
        tasks[prompt.id] = prompt.category
    categories = sums.means()
    remark = "T2I-CompBench publishes fractions of 1 by category; its overall number here is the mean over categories."
    overall = float(np.mean(list(categories.values())))
    return Score(rule, overall, categories, prompts, sums.parts, tasks, remarks=(remark,))

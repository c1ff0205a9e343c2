"""GenEval's rule: the share of right pictures in each task, and the mean over tasks."""

import numpy as np

from .answers import Answers, is_yes, unclear
from .score import CategorySums, Score


def official(suite, answers, images):
    """Overall is the mean of the tasks' shares, so that a task counts the same whatever its number of prompts."""
    return _score("official", suite, answers, images)


def corrected(suite, answers, images):
    """The same: nothing is known to be wrong with the official rule."""
    return _score("corrected", suite, answers, images)


def _score(rule, suite, answers, images):
    complete = Answers(suite, answers, images)
    prompts, sums, tasks = {}, CategorySums(), {}
    for prompt in suite.prompts:
        (question,) = prompt.questions
        right = [float(is_yes(complete.text(prompt, index, question))) for index in range(images)]
        sums.add(prompt.category, prompt.id, right)
        prompts[prompt.id] = 100 * sum(right) / len(right)
        tasks[prompt.id] = prompt.category
    categories = sums.means()
    overall = float(np.mean(list(categories.values())))
    return Score(rule, overall, categories, prompts, sums.parts, tasks, remarks=unclear(suite, answers))

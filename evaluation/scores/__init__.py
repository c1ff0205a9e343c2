"""Rules: pure functions from a suite and its answers to a Score. `score_answers` finds the right one."""

from ..errors import EvaluationError
from . import question_graph, soft_tifa, t2i_compbench, task_means

# Suite.rule -> the module with the functions `official` and `corrected`.
RULES = {"graph": question_graph, "t2i_compbench": t2i_compbench, "task_means": task_means, "soft_tifa": soft_tifa}
NAMES = ("corrected", "official")


def score_answers(suite, answers, images, rule="corrected"):
    """The Score of a Suite under a rule of NAMES.

    `answers` is {(prompt id, index, question id): Answer} as `answers.by_question` makes it, `images` the number of
    pictures of each prompt. EvaluationError where an answer is missing (but for DPG-Bench's official rule, which drops
    the prompt).
    """
    if rule not in NAMES:
        raise EvaluationError(f"there is no rule {rule}; there are {' and '.join(NAMES)}.")
    return getattr(RULES[suite.rule], rule)(suite, answers, images)

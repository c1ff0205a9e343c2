"""The rules of DPG-Bench and DSG: a question counts only if the questions it depends on were answered yes.

`official` repeats what the published script compute_dpg_bench.py does, `corrected` is DSG's rule on all that was asked.
"""

from __future__ import annotations

import numpy as np

from ..errors import EvaluationError
from .answers import Answers, is_yes, unclear
from .score import CategorySums, Score


def corrected(suite, answers, images):
    """Every question and picture; yes whatever its case or full stop; a question is 0 if a parent's answer is not yes.

    Overall is the mean over prompts of the mean over their pictures and questions. Categories are means of the answers
    themselves, as in the paper.
    """
    complete = Answers(suite, answers, images)
    prompts, sums = {}, CategorySums()
    for prompt in suite.prompts:
        pictures = []
        for index in range(images):
            yes = {q.id: is_yes(complete.text(prompt, index, q)) for q in prompt.questions}
            counted = [yes[q.id] and all(yes[parent] for parent in q.parents) for q in prompt.questions]
            pictures.append(sum(counted) / len(counted))
            for question in prompt.questions:
                for category in both_levels(question.category):
                    sums.add(category, prompt.id, [float(yes[question.id])])
        prompts[prompt.id] = 100 * sum(pictures) / len(pictures)
    overall = float(np.mean(list(prompts.values())))
    return Score("corrected", overall, sums.means(), prompts, sums.parts, remarks=unclear(suite, answers))


def official(suite, answers, images):
    """The published script with its defects.

    1. It skips the first row of the CSV. Where another question depends on that one, its prompt is dropped.
    2. The answer must be exactly "yes".
    3. Zeros spread in file order, since a parent is looked up among scores that were zeroed already.
    4. A prompt whose pictures are not all there is dropped without a word (here it is named in `dropped`).
    5. Categories are means over the answers on each prompt's last picture alone.
    """
    prompts, dropped, sums = {}, {}, CategorySums()
    for place, prompt in enumerate(suite.prompts):
        questions = prompt.questions[1:] if place == 0 else prompt.questions
        try:
            pictures, last = [], {}
            for index in range(images):
                last = {q.id: float(answers[prompt.id, index, q.id].text == "yes") for q in questions}
                scores = spread_zeros(questions, last)
                pictures.append(sum(scores.values()) / len(scores))
        except (KeyError, ZeroDivisionError):
            dropped[prompt.id] = reason(prompt, questions, answers, images)
            continue
        prompts[prompt.id] = sum(pictures) / len(pictures)
        for question in questions:
            for category in both_levels(question.category):
                sums.add(category, prompt.id, [last[question.id]])
    if not prompts:
        raise EvaluationError(
            f"the official rule drops every prompt ({next(iter(dropped.values()))}); score with --rule corrected."
        )
    overall = float(np.mean(list(prompts.values())) * 100)
    percents = {prompt_id: 100 * score for prompt_id, score in prompts.items()}
    return Score("official", overall, sums.means(), percents, sums.parts, dropped=dropped)


def spread_zeros(questions, scores):
    """Scores (a dict by question id) in which zeros went on to what depends on them, in the order of the file."""
    scores = dict(scores)
    for question in questions:
        if any(scores[parent] == 0 for parent in question.parents):
            scores[question.id] = 0.0
    return scores


def reason(prompt, questions, answers, images):
    """Why the official script loses a prompt."""
    skipped = {q.id for q in prompt.questions} - {q.id for q in questions}
    for question in questions:
        if skipped & set(question.parents):
            return f"question {question.id} depends on the first row of the CSV, which the script skips"
    if not questions:
        return "the script skips the first row of the CSV, its only question"
    index = next(i for i in range(images) if any((prompt.id, i, q.id) not in answers for q in questions))
    return f"picture {index} or an answer on it is missing"


def both_levels(category):
    """The broad and the detailed category of a question: "attribute - color" -> "attribute", "attribute - color"."""
    return (category.split("-")[0].strip(), category) if category else ()

"""Answers by what they answer, and what counts as yes."""

from __future__ import annotations

from types import NoneType
from typing import NamedTuple

from ..errors import EvaluationError


class Answer(NamedTuple):
    """What a judge said (`text`), and its probability of the expected answer (`p_yes`, None without one)."""

    text: str
    p_yes: float | None = None


def by_question(lines):
    """{(prompt id, index, question id): Answer} of lines as in answers.<judge>.jsonl; the later of two counts."""
    answers = {}
    for number, line in enumerate(lines, 1):
        try:
            key = (line["prompt"], line["index"], line["question"])
            answer = Answer(line["answer"], line.get("p_yes"))
        except KeyError as error:
            raise EvaluationError(
                f"line {number} of the answers has no {error}; a line has prompt, index, question, answer and p_yes."
            ) from None
        types = zip((str, int, int, str, (int, float, NoneType)), (*key, *answer))
        if not all(isinstance(value, kind) for kind, value in types):
            raise EvaluationError(
                f"line {number} of the answers is not like "
                '{"prompt": "whoops_5", "index": 0, "question": 2, "answer": "yes", "p_yes": 0.97}; mind the numbers.'
            )
        answers[key] = answer
    return answers


def said(text):
    """An answer without case, spaces around it and full stop."""
    return text.strip().rstrip(".").strip().lower()


def is_yes(text):
    """Whether an answer is yes, whatever its case or full stop."""
    return said(text) == "yes"


def yes_or_no(text):
    """ "yes", "no", or "" where an answer is neither; a no may give its reason: "no: expected dog>=2, found 1"."""
    word = said(text).split(":")[0]
    return word if word in ("yes", "no") else ""


def unclear(suite, answers):
    """A remark on the answers to yes-no questions that are neither, () where there are none.

    Raises EvaluationError where not one of them is either, since then the judge, not the picture, is at fault.
    """
    yes_no = {(prompt.id, q.id) for prompt in suite.prompts for q in prompt.questions if q.expected == "yes"}
    asked = [(key, answer) for key, answer in answers.items() if (key[0], key[2]) in yes_no]
    bad = [(key, answer) for key, answer in asked if not yes_or_no(answer.text)]
    if not bad:
        return ()
    (prompt_id, index, question), answer = bad[0]
    first = f"{answer.text!r} to question {question} on picture {index} of {prompt_id}"
    if len(bad) == len(asked):
        raise EvaluationError(
            f"none of {len(bad)} answers is yes or no (the first is {first}); use a judge that answers with one word."
        )
    return (f"{len(bad)} of {len(asked)} answers are neither yes nor no and count as no; the first is {first}.",)


class Answers:
    """The answers to all questions of a suite on `images` pictures of each prompt.

    Raises EvaluationError, by name, where the answer to one of them is missing or lacks a probability.
    """

    def __init__(self, suite, answers, images):
        self.answers, self.images = answers, images
        for prompt in suite.prompts:
            for index in range(images):
                for question in prompt.questions:
                    if (prompt.id, index, question.id) not in answers:
                        raise EvaluationError(
                            f"question {question.id} on picture {index} of {prompt.id} has no answer; run `judge` on "
                            "this folder again, it asks just what lacks."
                        )

    def text(self, prompt, index, question):
        """What the judge said."""
        return self.answers[prompt.id, index, question.id].text

    def probability(self, prompt, index, question):
        """The judge's probability of the expected answer, 0 to 1 (for a MATCH, CLIP's cosine)."""
        p_yes = self.answers[prompt.id, index, question.id].p_yes
        if p_yes is None:
            raise EvaluationError(
                f"the answer to question {question.id} on picture {index} of {prompt.id} has no p_yes, which this "
                "suite is scored by; use a judge that gives probabilities."
            )
        return p_yes

"""Prompts with their pictures, questions and answers, as a report shows them."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass

from ..errors import EvaluationError
from ..scores.answers import yes_or_no

THUMBNAIL = 200  # pixels of the longer edge


@dataclass(frozen=True)
class Card:
    """One prompt: `scores` {run label: 0 to 100}, `pictures` {run label: addresses of small ones, "" where one lacks}.

    `questions` holds (id, text, ids of its parents, {run label: [(answer, "yes", "no" or "", p_yes) or None]}).
    """

    id: str
    text: str
    scores: dict[str, float]
    pictures: dict[str, list[str]]
    questions: list[tuple]


class CardMaker:
    """Makes the Card of a prompt from runs (RunResults); a picture is read once, however often its prompt is shown."""

    def __init__(self, results):
        self.results = results
        self.prompts = {prompt.id: prompt for prompt in results[0].folder.suite.prompts}
        self.made = {}

    def card(self, prompt_id):
        """The Card of a prompt."""
        if prompt_id not in self.made:
            prompt = self.prompts[prompt_id]
            self.made[prompt_id] = Card(
                prompt_id,
                prompt.text,
                {
                    result.label: result.score.prompts[prompt_id]
                    for result in self.results
                    if prompt_id in result.score.prompts
                },
                {
                    result.label: [thumbnail(result.folder, prompt_id, i) for i in range(result.images)]
                    for result in self.results
                },
                [self.question(prompt_id, question) for question in prompt.questions],
            )
        return self.made[prompt_id]

    def question(self, prompt_id, question):
        """A row of Card.questions."""
        answers = {}
        for result in self.results:
            found = [result.answers.get((prompt_id, index, question.id)) for index in range(result.images)]
            answers[result.label] = [answer and (answer.text, yes_or_no(answer.text), answer.p_yes) for answer in found]
        return question.id, question.text, question.parents, answers


def thumbnail(folder, prompt_id, index):
    """The address of a small JPEG that holds a run's picture; "" where that is missing or damaged."""
    try:
        picture = folder.read_picture(prompt_id, index)
    except EvaluationError:
        return ""
    picture.thumbnail((THUMBNAIL, THUMBNAIL))
    data = io.BytesIO()
    picture.save(data, "JPEG", quality=82)
    return "data:image/jpeg;base64," + base64.b64encode(data.getvalue()).decode()

"""What a benchmark is here: prompts with ids, the questions on each, and the name of the rule that scores the answers.

A suite is one file beside this one. It holds `SOURCE`, a sentence on where its data come from and under which terms,
and `load(data, categories=()) -> Suite`. No suite's data are part of this repository.
"""

from __future__ import annotations

import dataclasses
import json
import re
from dataclasses import dataclass, field

from ..errors import EvaluationError

YES_NO = "yes_no"  # a question on the picture, to be answered yes or no
NUMBER = "number"  # "How many ...?"; the answer is a number in words, "two"
MATCH = "match"  # no question: how well `text` fits the picture, as CLIP's cosine
SPATIAL = (
    "spatial"  # two objects and where one is from the other: details {"objects": [a, b], "relation": "on the left of"}
)
OBJECTS = "objects"  # GenEval's demands: details {"tag": ..., "include": [...], "exclude": [...]}
KINDS = (YES_NO, NUMBER, MATCH, SPATIAL, OBJECTS)
UNSAFE = re.compile(r'[<>:"/\\|?*\x00-\x1f]|^\.|[. ]$|^$')  # what some file system takes not as a folder's name


@dataclass(frozen=True)
class Question:
    """One thing that is asked of each picture of a prompt.

    `id` is unique within the prompt, `parents` are the ids of the questions it depends on, `category` is as in the file
    ("attribute - color"; the part before "-" is the broad category). `kind` tells which judges can answer it,
    `expected` is the right answer, `details` is what a judge needs beside the text, by kind.
    """

    id: int
    text: str
    parents: tuple[int, ...] = ()
    category: str = ""
    kind: str = YES_NO
    expected: str = "yes"
    details: dict = field(default_factory=dict)


@dataclass(frozen=True)
class Prompt:
    """A text to draw. `id` names its folder of pictures; `category` is its task, where the suite has tasks."""

    id: str
    text: str
    questions: tuple[Question, ...] = ()
    category: str = ""

    def __post_init__(self):
        ids = {question.id for question in self.questions}
        if len(ids) != len(self.questions):
            twice = next(q.id for i, q in enumerate(self.questions) if q.id in {p.id for p in self.questions[:i]})
            raise EvaluationError(f"{self.id} has two questions with the id {twice}; give each an id of its own.")


@dataclass(frozen=True)
class Suite:
    """A benchmark: `prompts` in the order of the file, `rule` one of scores.RULES, `source` the module's SOURCE.

    `remarks` are sentences that belong beside every score, above all that the data differ from the published.
    """

    name: str
    prompts: tuple[Prompt, ...]
    rule: str
    source: str = ""
    remarks: tuple[str, ...] = ()

    def __post_init__(self):
        if not self.prompts:
            raise EvaluationError(f"the data of {self.name} hold no prompt; check the path that was given.")
        seen = set()
        for prompt in self.prompts:
            if UNSAFE.search(prompt.id) or len(prompt.id) > 100:
                raise EvaluationError(
                    f"the prompt id {prompt.id!r} can't be the name of a folder; use letters, digits, - and _ in ids."
                )
            if prompt.id.lower() in seen:
                raise EvaluationError(f"two prompts have the id {prompt.id}; give each an id of its own.")
            seen.add(prompt.id.lower())

    def to_json(self):
        """The suite as text that `from_json` reads."""
        return json.dumps(dataclasses.asdict(self), ensure_ascii=False)

    @classmethod
    def from_json(cls, text):
        """The suite that `to_json` wrote."""
        values = json.loads(text)
        prompts = []
        for prompt in values.pop("prompts"):
            questions = [
                Question(**{**question, "parents": tuple(question["parents"])}) for question in prompt.pop("questions")
            ]
            prompts.append(Prompt(**prompt, questions=tuple(questions)))
        return cls(**{**values, "prompts": tuple(prompts), "remarks": tuple(values["remarks"])})

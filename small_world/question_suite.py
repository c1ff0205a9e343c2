"""The small world for `python -m evaluation`: its prompts and claims as a question CSV, and its judge.

python -m small_world questions --out questions.csv
python -m evaluation generate --suite custom --data questions.csv --workflow W.json ... --out RUN
python -m small_world judge RUN
python -m evaluation score RUN
"""

import csv
import hashlib
import inspect
from collections.abc import Sequence
from pathlib import Path

from accelerate import PartialState

from evaluation.answering import answer_all
from evaluation.judges.judge import Identity, Judge
from evaluation.run_folder import RunFolder
from evaluation.suites.question_csv import COLUMNS
from evaluation.suites.suite import YES_NO

from . import claims, judge, scenes
from .claims import Claim
from .judge import shapes_in
from .measure import Asked

NAME = "small-world"
CATEGORIES = {None: "entity - whole", "at": "relation - place"}


def write_questions(path: Path, prompts: Sequence[Asked]) -> None:
    """The prompts' claims in the columns of DPG-Bench; what is said of shapes depends on their being there."""
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, COLUMNS)
        table.writeheader()
        for one in prompts:
            there = {}
            for number, claim in enumerate(one.caption.claims, 1):
                parent = 0 if claim.relation is None else there.get((claim.looks.colour, claim.looks.kind), 0)
                if claim.relation is None:
                    there[claim.looks.colour, claim.looks.kind] = number
                category = CATEGORIES.get(claim.relation, "relation - spatial")
                row = (f"scene-{one.number}", one.caption.text, number, parent, f"{category} (x)", claim.question())
                table.writerow(dict(zip(COLUMNS, row)))


class SceneJudge(Judge):
    """Answers the small world's questions from the shapes that it finds, with 0 or 1 for a probability."""

    name = NAME
    kinds = (YES_NO,)

    def __init__(self):
        sources = "".join(inspect.getsource(module) for module in (scenes, judge, claims))
        fingerprint = hashlib.sha256(sources.encode()).hexdigest()[:16]
        self.identity = Identity(NAME, "small_world", fingerprint, "{question}")

    def answer(self, pictures, questions):
        """[("yes", 1.0) or ("no", 0.0)] of each picture and question."""
        found = {key: shapes_in(p) for key, p in {id(p): p for p in pictures}.items()}  # several questions on each
        shown = [Claim.from_question(q.text).holds(found[id(p)]) for p, q in zip(pictures, questions)]
        return [("yes", 1.0) if holds else ("no", 0.0) for holds in shown]


def judge_run(folder: Path) -> list[str]:
    """Judges a run of `python -m evaluation generate`; returns remarks."""
    return answer_all(RunFolder(folder), SceneJudge(), NAME, 64, PartialState(cpu=True))

"""Everything that a report says, before it is laid out."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..errors import EvaluationError
from ..run_folder import RunFolder
from ..score import judged, score_lines
from ..scores.answers import by_question
from ..scores.intervals import compare, intervals
from .cards import CardMaker
from .published import tables_for


@dataclass(frozen=True)
class RunResult:
    """A run with its Score and the intervals by name.

    `judges` is {name: settings}, `answers` as `by_question` makes them, `answered` {kind of judge: {(prompt id,
    question id)}}.
    """

    label: str
    folder: RunFolder
    score: object
    intervals: dict
    judges: dict
    answers: dict
    answered: dict

    @property
    def images(self):
        """Pictures of each prompt."""
        return self.folder.settings["images"]

    @property
    def columns(self):
        """{name: (score, [low, high] or None)} of overall and the categories."""
        named = {"overall": self.score.overall, **self.score.categories}
        return {name: (value, self.intervals.get(name)) for name, value in named.items()}


@dataclass(frozen=True)
class Beside:
    """A PublishedTable beside the runs: `objections` {run label: {column: sentences}}."""

    table: object
    objections: dict

    def reasons(self):
        """Every objection once, with the columns and runs that it is about where not all are."""
        found = {}
        for label, columns in self.objections.items():
            for column, sentences in columns.items():
                for sentence in sentences:
                    found.setdefault(sentence, {}).setdefault(label, []).append(column)
        lines = []
        for sentence, where in found.items():
            labels = [] if len(where) == len(self.objections) else [f"of {', '.join(where)}"]
            some = sorted({column for columns in where.values() for column in columns}, key=self.table.columns.index)
            columns = [] if len(some) == len(self.table.columns) else [f"in {', '.join(some)}"]
            lines.append(" ".join([sentence, *columns, *labels]))
        return lines


@dataclass(frozen=True)
class Content:
    """What a report of `results` says; `comparisons` {label: Comparison with the first run}."""

    suite: object
    rule: str
    results: list[RunResult]
    names: list[str]
    published: list[Beside]
    comparisons: dict = field(default_factory=dict)
    incomparable: str = ""
    best: list = field(default_factory=list)
    worst: list = field(default_factory=list)
    gains: list = field(default_factory=list)
    losses: list = field(default_factory=list)


def collect(folders, rule, judges, prompts):
    """The Content of RunFolders, the first of which the others are compared with; `prompts` of the best, worst, ....

    EvaluationError where the runs are not of one suite, or can't be scored.
    """
    results = [run_result(label, folder, rule, judges) for label, folder in labelled(folders).items()]
    suite = results[0].folder.suite
    for result in results[1:]:
        if result.folder.suite.prompts != suite.prompts:
            raise EvaluationError(
                f"{results[0].label} and {result.label} are of other prompts or questions; report runs of one suite."
            )
    incomparable = judges_differ(results)
    others = results[1:] if not incomparable else []
    comparisons = {result.label: compare(result.score, results[0].score) for result in others}
    maker = CardMaker(results)
    means = mean_scores(results)
    order = sorted(means, key=lambda prompt_id: -means[prompt_id])
    found = {"best": order[:prompts], "worst": order[::-1][: min(prompts, max(0, len(order) - prompts))]}
    if comparisons:
        differences = comparisons[results[-1].label].differences
        changed = sorted(differences, key=lambda prompt_id: -differences[prompt_id])
        found["gains"] = [prompt_id for prompt_id in changed[:prompts] if differences[prompt_id] > 0]
        found["losses"] = [prompt_id for prompt_id in changed[::-1][:prompts] if differences[prompt_id] < 0]
    return Content(
        suite,
        rule,
        results,
        list(dict.fromkeys(name for result in results for name in result.columns)),
        [beside(table, results, rule) for table in tables_for(suite.name)],
        comparisons,
        incomparable,
        **{name: [maker.card(prompt_id) for prompt_id in ids] for name, ids in found.items()},
    )


def labelled(folders):
    """{label: RunFolder}: the folders' names, or their paths where names repeat."""
    names = [folder.path.resolve().name for folder in folders]
    if len(set(names)) < len(names):
        names = [str(folder.path) for folder in folders]
    if len(set(names)) < len(names):
        raise EvaluationError("a run was given twice; give each once.")
    return dict(zip(names, folders, strict=True))


def run_result(label, folder, rule, judges):
    """The RunResult of a folder."""
    settings, lines = judged(folder, judges)
    score = score_lines(folder.suite, lines, folder.settings["images"], rule)
    answered = {}
    for name, own in settings.items():
        pairs = {(line["prompt"], line["question"]) for line in folder.answers(name).read()}
        answered.setdefault(own.get("judge", name), set()).update(pairs)
    return RunResult(label, folder, score, intervals(score), settings, by_question(lines), answered)


def judges_differ(results):
    """Why the runs can't be compared, as a sentence; "" where one and the same judge answered on as many pictures."""

    def identities(result):
        return {
            name: {key: value for key, value in settings.items() if key != "libraries"}
            for name, settings in result.judges.items()
        }

    first = results[0]
    for other in results[1:]:
        if identities(other) != identities(first):
            return (
                f"{first.label} and {other.label} were not judged by one and the same judge, so they are not compared."
            )
        if other.images != first.images:
            return (
                f"{first.label} has {first.images} pictures of each prompt and {other.label} {other.images}, so they "
                "are not compared."
            )
    return ""


def mean_scores(results):
    """{prompt id: mean of its scores over the runs}, of prompts that all runs have."""
    common = [prompt_id for prompt_id in results[0].score.prompts if all(prompt_id in r.score.prompts for r in results)]
    return {prompt_id: sum(r.score.prompts[prompt_id] for r in results) / len(results) for prompt_id in common}


def beside(table, results, rule):
    """A published table with what keeps each run's columns from standing beside it."""
    objections = {}
    for result in results:
        objections[result.label] = {
            column: table.objections(column, kinds_of(result, column), rule, result.images, result.score.remarks)
            if column in result.columns
            else ("there is no such score",)
            for column in table.columns
        }
    return Beside(table, objections)


def kinds_of(result, column):
    """The kinds of the judges whose answers a column is made of."""
    prompts = result.folder.suite.prompts
    asked = {(p.id, q.id) for p in prompts if column in ("overall", p.category) for q in p.questions}
    if not asked:  # a category of questions
        asked = {(p.id, q.id) for p in prompts for q in p.questions if column == q.category.split("-")[0].strip()}
    return sorted(kind for kind, answered in result.answered.items() if answered & asked)

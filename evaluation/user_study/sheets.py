"""What is shown: for each chosen prompt pictures of every run, in an order of its own for each rater."""

from __future__ import annotations

import random
from dataclasses import dataclass

from ..errors import EvaluationError


@dataclass(frozen=True)
class Sheet:
    """One comparison: the pictures of a prompt with these indices, of every run."""

    prompt: str
    text: str
    indices: tuple[int, ...]

    @property
    def id(self):
        """A name of the sheet."""
        return f"{self.prompt}/{'-'.join(map(str, self.indices))}"


def run_labels(runs):
    """{label: RunFolder}, the labels are the folders' names; EvaluationError where these are the same."""
    labels = {run.path.resolve().name: run for run in runs}
    if len(labels) < len(runs):
        raise EvaluationError("two of the runs have the same folder name; rename one, since results go by these names.")
    return labels


def choose_sheets(labels, prompts, pictures, seed):
    """`prompts` Sheets of `pictures` each, drawn by `seed` from what all runs have; fewer where these are fewer.

    EvaluationError where the runs have not as many pictures of any prompt in common.
    """
    runs = list(labels.values())
    texts = {prompt.id: prompt.text for prompt in runs[0].suite.prompts}
    for label, run in labels.items():
        for prompt in run.suite.prompts:
            if texts.get(prompt.id, prompt.text) != prompt.text:
                raise EvaluationError(f"{label} has another text for {prompt.id}; compare runs of the same prompts.")
    common = set.intersection(*(set(run.pictures(verify=True)) for run in runs))
    indices = {}
    for prompt_id, index in sorted(common):
        if prompt_id in texts:
            indices.setdefault(prompt_id, []).append(index)
    enough = sorted(prompt_id for prompt_id, some in indices.items() if len(some) >= pictures)
    if not enough:
        raise EvaluationError(
            f"{' and '.join(labels)} have no prompt of which each has the same {pictures} pictures; give runs of one "
            "suite, finish them with `generate`, or ask for fewer --pictures."
        )
    chance = random.Random(f"sheets {seed}")
    return [
        Sheet(prompt_id, texts[prompt_id], tuple(sorted(chance.sample(indices[prompt_id], pictures))))
        for prompt_id in chance.sample(enough, min(prompts, len(enough)))
    ]


def order_for(sheets, rater, seed):
    """The sheets in the order in which a rater sees them."""
    return random.Random(f"order {seed} {rater}").sample(sheets, len(sheets))


def labels_for(sheet, labels, rater, seed):
    """The runs' labels in the order in which a rater sees their pictures on a sheet, from left to right."""
    return random.Random(f"sides {seed} {rater} {sheet.id}").sample(sorted(labels), len(labels))

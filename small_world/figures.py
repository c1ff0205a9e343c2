"""Tables and plots of a study, from its results.jsonl alone.

    python -m small_world figures STUDY --out docs/small_world

Shares are of all shapes of a measurement's prompts, those of all seeds together.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from ella_core.errors import ELLAError
from evaluation.line_file import LineFile

from .shares import Interval, Pictures, difference, share
from .study import DEMO, OWN, SWAPPED, TOLD, TYPED

ASPECTS = ("bound", "counts", "places", "relations")
PLOTTED = {"bound": "shapes with kind, colour and size right, %"}
PLOTTED |= {"counts": "groups of the right number, %", "relations": "relations right, %"}
KINDS = {("mlp", None): "MLP", ("resampler", 1): "resampler x1", ("resampler", 6): "resampler x6"}
KINDS |= {("adaln-zero", 6): "AdaLN-Zero x6", ("tsc", 6): "TSC x6"}
READERS = {"smollm": "read by SmolLM2"}  # language models beside MiniLM
_OTHERS = {OWN: "the base's own text encoder", DEMO: "the demo's TSC x6"}
_MEASURED = ("cell", "told", "captions", "held_out")  # the same of these is the same measurement
WORDS = (0, 40, 50, 65, 1000)  # where captions are parted by their length


def figures(studies: Sequence[Path], out: Path) -> str:
    """Writes the plots into `out` and the tables into out/table.md; returns these.

    Raises:
        ELLAError: a study has no results.
    """
    lines = []
    for study in studies:
        of_study = LineFile(study / "results.jsonl").read()
        if not of_study:
            raise ELLAError(f"{study} has no results.jsonl with results; run python -m small_world study first.")
        lines += of_study
    # What several studies measured counts once.
    lines = list({tuple(line.get(key) for key in _MEASURED): line for line in lines}.values())
    out.mkdir(parents=True, exist_ok=True)
    usual = usual_steps(lines)
    found = grouped(lines, lambda line: name_of(line, usual))
    text = f"{table(found)}\n{order(found)}"
    (out / "table.md").write_text(text)
    by_objects(found).savefig(out / "by_objects.png", dpi=120)
    by_words(found).savefig(out / "by_words.png", dpi=120)
    by_steps(lines).savefig(out / "by_steps.png", dpi=120)
    return text


def usual_steps(lines: Iterable[dict]) -> int:
    """The steps with which most kinds were trained, of several such the most."""
    kinds = defaultdict(set)
    for line in lines:
        if "kind" in line:
            kinds[line["steps"]].add((line["kind"], line["depth"]))
    return max(kinds, key=lambda steps: (len(kinds[steps]), steps), default=0)


def grouped(lines: Iterable[dict], name: Callable) -> dict[tuple, list[Pictures]]:
    """{(name of a line, captions, held out): the pictures of each seed}."""
    found = defaultdict(list)
    for line in lines:
        found[name(line), line["captions"], line["held_out"]].append(line["pictures"])
    return dict(found)


def name_of(line: dict, usual: int) -> str:
    """What a line is called in tables."""
    if "kind" not in line:
        parts = [_OTHERS[line["cell"]]]
    else:
        kind = KINDS.get((line["kind"], line["depth"]), f"{line['kind']} x{line['depth']}".upper().replace("X", "x"))
        parts = [kind]
        if line["steps"] != usual:
            parts.append(f"{line['steps']} steps")
        if line["language_model"] != "minilm":
            parts.append(READERS[line["language_model"]])
    if line.get("told"):
        parts.append(f"told {line['told']}")
    return ", ".join(parts)


def those(seeds: Sequence[Pictures], belongs: Callable) -> list[Pictures]:
    """The pictures of each seed that belong."""
    return [[picture for picture in pictures if belongs(picture)] for pictures in seeds]


def many(picture: dict) -> bool:
    """Whether it was asked for 4 or more shapes."""
    return picture["shapes"] >= 4


def table(found: dict[tuple, list[Pictures]]) -> str:
    """A Markdown table on dense captions: a row for each trained thing, and last the pairs of captions with two colours
    swapped whose pictures are both right, and the relations of typed captions."""
    columns = ("", "shapes bound", "with 4 or more", "groups counted", "places", "relations", "held-out pairs")
    columns += ("both swapped", "relations, typed")
    rows = [f"|{' | '.join(columns)} |", "|---" * len(columns) + "|"]
    for name in dict.fromkeys(name for name, _, _ in found):
        known, held_out = found.get((name, "dense", False), []), found.get((name, "dense", True), [])
        cells = [share(known, "bound"), share(those(known, many), "bound")]
        cells += [share(known, aspect) for aspect in ASPECTS[1:]]
        swapped = [both_right(pictures) for pictures in found.get((name, SWAPPED, False), [])]
        cells += [share(held_out, "bound"), share(swapped, "both")]
        cells += [share(found.get((name, TYPED, False), []), "relations")]
        rows.append(f"| {name} | {' | '.join(map(shown, cells))} |")
    return "\n".join(rows) + "\n"


def order(found: dict[tuple, list[Pictures]]) -> str:
    """A Markdown table of what each kind of connector gets right more than the one before it in the paper's order, the
    last more than the first, what each gets right more with a decoder's text states, and the TSC told other
    timesteps more than told the evaluation's."""
    rows = ["| percent points more | shapes bound | with 4 or more | places | relations | held-out pairs |"]
    rows.append("|---" * 6 + "|")
    kinds = tuple(KINDS.values())
    trained = [(kind, before, False) for before, kind in (*pairwise(kinds), (kinds[0], kinds[-1]))]
    read = [(f"{kind}, {reader}", kind, False) for reader in READERS.values() for kind in kinds]
    read += [(f"{kinds[-1]}, {reader}", f"{kinds[0]}, {reader}", False) for reader in READERS.values()]
    told = [(f"{kinds[-1]}, told {timestep}", kinds[-1], True) for timestep in TOLD]
    for name, other, same in trained + read + told:
        known, known_other = found.get((name, "dense", False)), found.get((other, "dense", False))
        held_out, held_out_other = found.get((name, "dense", True), []), found.get((other, "dense", True), [])
        if not known or not known_other:
            continue
        cells = [
            difference(known, known_other, "bound", same),
            difference(those(known, many), those(known_other, many), "bound", same),
            difference(known, known_other, "places", same),
            difference(known, known_other, "relations", same),
            difference(held_out, held_out_other, "bound", same),
        ]
        rows.append(f"| {name} over {other} | {' | '.join(shown(cell, '+') for cell in cells)} |")
    return "\n".join(rows) + "\n"


def both_right(pictures: Pictures) -> Pictures:
    """For each pair of pictures of swapped captions whether both show what they should."""
    pairs = zip(pictures[::2], pictures[1::2])
    return [
        {"number": pair[0]["number"], "both": (int(all(one["bound"][0] == one["bound"][1] for one in pair)), 1)}
        for pair in pairs
    ]


def shown(value: Interval | None, sign: str = "") -> str:
    """Percent with its interval; with "+" as `sign` also positive numbers have one."""
    if value is None:
        return ""
    middle, low, high = (f"{number:{sign}.1f}" for number in value)
    return f"{middle} ({low}..{high})"


def by_objects(found: dict[tuple, list[Pictures]]) -> Figure:
    """What is right by the number of shapes."""
    return by(found, "shapes in the scene", range(1, 7), lambda picture, at: picture["shapes"] == at)


def by_words(found: dict[tuple, list[Pictures]]) -> Figure:
    """What is right by the length of the dense caption."""
    middles = [35, 45, 57, 80]
    ranges = dict(zip(middles, pairwise(WORDS)))
    return by(found, "words of the caption", middles, lambda p, at: ranges[at][0] <= p["words"] < ranges[at][1])


def by(found: dict[tuple, list[Pictures]], label: str, values: Iterable, belongs: Callable) -> Figure:
    """A line for each trained thing, at each value of the pictures that belong there, for each of `PLOTTED`."""
    points = {aspect: {} for aspect in PLOTTED}
    for (name, captions, held_out), seeds in found.items():
        if captions == "dense" and not held_out and "," not in name:
            at_each = {at: those(seeds, lambda p, at=at: belongs(p, at)) for at in values}
            for aspect in PLOTTED:
                points[aspect][name] = {at: share(some, aspect) for at, some in at_each.items()}
    return plot(label, points)


def by_steps(lines: Iterable[dict]) -> Figure:
    """Shapes bound by the steps of the training, of each kind of connector that reads with MiniLM."""
    asked = {"language_model": "minilm", "told": None, "captions": "dense", "held_out": False}
    lines = [line for line in lines if "kind" in line and all(line[key] == value for key, value in asked.items())]
    found = grouped(lines, lambda line: (KINDS.get((line["kind"], line["depth"])), line["steps"]))
    points = {}
    for ((kind, steps), _, _), seeds in sorted(found.items(), key=lambda item: item[0][0][1]):
        points.setdefault(kind, {})[steps] = share(seeds, "bound")
    return plot("steps of the training", {"bound": {kind: points[kind] for kind in KINDS.values() if kind in points}})


def plot(label: str, points: dict[str, dict[str, dict[float, Interval | None]]]) -> Figure:
    """A part for each of these aspects, in each a line with intervals for each name, through what was measured of
    it."""
    figure = Figure(figsize=(8.6, 0.6 + 3.6 * len(points)), layout="constrained")
    parts = figure.subplots(len(points), sharex=True, squeeze=False)[:, 0]
    for axes, (aspect, of_aspect) in zip(parts, points.items()):
        for name, of_name in of_aspect.items():
            measured = {at: value for at, value in of_name.items() if value is not None}
            y, low, high = zip(*measured.values()) if measured else ((), (), ())
            error = np.maximum([np.subtract(y, low), np.subtract(high, y)], 0)
            axes.errorbar(list(measured), y, error, marker="o", capsize=3, label=name)
        axes.set(ylabel=PLOTTED[aspect], ylim=(0, 100))
        axes.grid(alpha=0.3)
    parts[-1].set_xlabel(label)
    if parts[0].lines:
        figure.legend(*parts[0].get_legend_handles_labels(), loc="outside right upper", fontsize=8)
    return figure

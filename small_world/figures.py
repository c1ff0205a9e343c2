"""Tables and plots of a study, from its results.jsonl alone.

    python -m small_world figures STUDY --out docs/small_world

Shares are of all shapes of a measurement's prompts. Intervals are 95 %: bootstrapped over prompts, those of all seeds
together.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from scipy.stats import bootstrap

from ella_core.errors import ELLAError
from evaluation.line_file import LineFile

from .study import DEMO, OWN, SWAPPED

ASPECTS = ("bound", "counts", "places", "relations")
KINDS = {("mlp", None): "MLP", ("resampler", 1): "resampler x1", ("resampler", 6): "resampler x6"}
KINDS |= {("adaln-zero", 6): "AdaLN-Zero x6", ("tsc", 6): "TSC x6"}
_OTHERS = {OWN: "the base's own text encoder", DEMO: "the demo's TSC x6"}
_MEASURED = ("cell", "told", "captions", "held_out")  # the same of these is the same measurement
WORDS = (0, 40, 50, 65, 1000)  # where captions are parted by their length


def figures(studies: Sequence[Path], out: Path) -> str:
    """Writes the plots into `out` and the table into out/table.md; returns that.

    Raises:
        ELLAError: a study has no results.
    """
    lines = []
    for study in studies:
        of_study = LineFile(study / "results.jsonl").read()
        if not of_study:
            raise ELLAError(f"{study} has no results.jsonl with results; run python -m small_world study first.")
        lines += of_study
    out.mkdir(parents=True, exist_ok=True)
    found = grouped(lines)
    text = table(found)
    (out / "table.md").write_text(text)
    by_objects(found).savefig(out / "by_objects.png", dpi=120)
    by_words(found).savefig(out / "by_words.png", dpi=120)
    return text


def grouped(lines: Iterable[dict]) -> dict[tuple, list[dict]]:
    """{(what was trained and told, captions, held out): the pictures of all seeds}; what several studies measured
    counts once."""
    lines = list({tuple(line.get(key) for key in _MEASURED): line for line in lines}.values())
    usual = Counter(line["steps"] for line in lines if "steps" in line).most_common(1)
    found = defaultdict(list)
    for line in lines:
        name = name_of(line, usual[0][0] if usual else 0)
        found[name, line["captions"], line["held_out"]] += line["pictures"]
    return dict(found)


def name_of(line: dict, usual_steps: int) -> str:
    """What a line is called in tables."""
    if "kind" not in line:
        parts = [_OTHERS[line["cell"]]]
    else:
        kind = KINDS.get((line["kind"], line["depth"]), f"{line['kind']} x{line['depth']}".upper().replace("X", "x"))
        parts = [kind]
        if line["steps"] != usual_steps:
            parts.append(f"{line['steps']} steps")
        if line["language_model"] != "minilm":
            parts.append(line["language_model"])
    if line.get("told"):
        parts.append(f"told {line['told']}")
    return ", ".join(parts)


def share(pictures: Sequence[dict], aspect: str) -> tuple[float, float, float] | None:
    """(percent, low, high) of what is asked in these pictures; None where nothing is."""
    right = np.array([picture[aspect][0] for picture in pictures], float)
    of = np.array([picture[aspect][1] for picture in pictures], float)
    if not of.sum():
        return None
    if len(pictures) < 3:
        value = 100 * right.sum() / of.sum()
        return value, value, value

    def ratio(r, o, axis=-1):
        return 100 * r.sum(axis) / np.maximum(o.sum(axis), 1)

    interval = bootstrap(
        (right, of), ratio, paired=True, n_resamples=2000, method="percentile", random_state=np.random.default_rng(0)
    ).confidence_interval
    return float(ratio(right, of)), float(interval.low), float(interval.high)


def table(found: dict[tuple, list[dict]]) -> str:
    """A Markdown table on dense captions: a row for each trained thing, and last the pairs of captions with two colours
    swapped whose pictures are both right."""
    rows = ["| | shapes bound | with 4 or more | groups counted | places | relations | held-out pairs | both swapped |"]
    rows.append("|---" * 8 + "|")
    for name in dict.fromkeys(name for name, _, _ in found):
        known, held_out = found.get((name, "dense", False), []), found.get((name, "dense", True), [])
        many = [picture for picture in known if picture["shapes"] >= 4]
        cells = [shown(share(known, "bound")), shown(share(many, "bound"))]
        cells += [shown(share(known, aspect)) for aspect in ASPECTS[1:]]
        cells += [
            shown(share(held_out, "bound")),
            shown(share(both_right(found.get((name, SWAPPED, False), [])), "both")),
        ]
        rows.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(rows) + "\n"


def both_right(pictures: Sequence[dict]) -> list[dict]:
    """For each pair of pictures of swapped captions whether both show what they should."""
    pairs = zip(pictures[::2], pictures[1::2])
    return [{"both": (int(all(one["bound"][0] == one["bound"][1] for one in pair)), 1)} for pair in pairs]


def shown(value: tuple[float, float, float] | None) -> str:
    """Percent with its interval."""
    return "" if value is None else f"{value[0]:.1f} ({value[1]:.1f}..{value[2]:.1f})"


def by_objects(found: dict[tuple, list[dict]]) -> Figure:
    """Shapes bound by the number of shapes."""
    return plot(found, "shapes in the scene", range(1, 7), lambda picture, at: picture["shapes"] == at)


def by_words(found: dict[tuple, list[dict]]) -> Figure:
    """Shapes bound by the length of the dense caption."""
    middles = [35, 45, 57, 80]
    ranges = dict(zip(middles, zip(WORDS, WORDS[1:])))
    return plot(found, "words of the caption", middles, lambda p, at: ranges[at][0] <= p["words"] < ranges[at][1])


def plot(found: dict[tuple, list[dict]], label: str, values: Iterable, belongs: Callable) -> Figure:
    """A line with intervals for each trained thing."""
    figure = Figure(figsize=(7, 4.2), layout="constrained")
    axes = figure.subplots()
    for (name, captions, held_out), pictures in found.items():
        if captions != "dense" or held_out or "," in name:
            continue
        points = [(at, share([p for p in pictures if belongs(p, at)], "bound")) for at in values]
        points = [(at, value) for at, value in points if value is not None]
        if not points:
            continue
        x, (y, low, high) = [at for at, _ in points], zip(*(value for _, value in points))
        error = np.maximum([np.subtract(y, low), np.subtract(high, y)], 0)
        axes.errorbar(x, y, error, marker="o", capsize=3, label=name)
    axes.set(xlabel=label, ylabel="shapes with kind, colour and size right, %", ylim=(0, 100))
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    return figure

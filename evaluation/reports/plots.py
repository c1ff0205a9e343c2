"""The report's plots, as SVG images that stand in the page themselves."""

from __future__ import annotations

import base64
import io
import math

import matplotlib.style
import numpy as np
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

COLORS = ("#4477aa", "#ee8844", "#228855", "#aa3377", "#888833")  # told apart by the colour-blind as well
INK = "#333333"
WIDTH, BAR_ROW, BAR_GAP = 5.6, 0.2, 0.16  # inches
# Fixed, so that the same run gives the same file.
STYLE = {"svg.hashsalt": "report", "font.size": 9, "text.color": INK, "axes.labelcolor": INK, "xtick.color": INK}


def as_data(figure):
    """A figure as the address of an SVG image that holds it."""
    FigureCanvasSVG(figure)
    svg = io.BytesIO()
    figure.savefig(svg, format="svg", metadata={"Date": None, "Creator": None})
    return "data:image/svg+xml;base64," + base64.b64encode(svg.getvalue()).decode()


def category_bars(names, runs):
    """Bars of each category and run. `runs` is {label: {name: (score, [low, high] or None)}}, all from 0 to 100."""
    with matplotlib.style.context(["default", STYLE]):
        group = BAR_ROW * len(runs) + BAR_GAP
        figure = Figure(figsize=(WIDTH, 0.8 + group * len(names)), layout="constrained")
        axes = figure.add_subplot()
        for row, (label, scores) in enumerate(runs.items()):
            places = [number * group + row * BAR_ROW for number in range(len(names))]
            values = [scores[name][0] if name in scores else math.nan for name in names]
            axes.barh(places, values, BAR_ROW * 0.9, color=COLORS[row % len(COLORS)], label=label)
            for place, name in zip(places, names, strict=True):
                score, bounds = scores.get(name, (None, None))
                if bounds:
                    axes.plot(bounds, [place, place], color=INK, linewidth=1.2, solid_capstyle="butt")
                if score is not None:
                    right = max(score, bounds[1] if bounds else 0)
                    axes.annotate(
                        f"{score:.1f}", (right, place), (4, 0), textcoords="offset points", va="center", size=8
                    )
        axes.set_yticks([number * group + BAR_ROW * (len(runs) - 1) / 2 for number in range(len(names))], names)
        axes.set_ylim((len(names) - 1) * group + BAR_ROW * len(runs), -BAR_ROW)
        axes.set_xlim(0, 108)
        axes.set_xlabel("score, lines are 95 % intervals")
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.tick_params(axis="y", length=0)
        if len(runs) > 1:
            figure.legend(loc="outside upper left", ncols=min(len(runs), 3), frameon=False)
        return as_data(figure)


def difference_histogram(differences, mean):
    """The distribution over prompts of score of one run less that of another, -100 to 100, and its mean."""
    values = np.asarray(differences, float)
    with matplotlib.style.context(["default", STYLE]):
        figure = Figure(figsize=(WIDTH, 2.4), layout="constrained")
        axes = figure.add_subplot()
        reach = max(10.0, math.ceil(np.abs(values).max() / 10) * 10)
        axes.hist(values, bins=np.linspace(-reach, reach, 42), color=COLORS[0])
        axes.axvline(0, color=INK, linewidth=0.8)
        axes.axvline(mean, color=COLORS[1], linewidth=1.6, label=f"mean {mean:+.2f}")
        axes.set_xlabel("difference of a prompt's score")
        axes.set_ylabel("prompts")
        axes.yaxis.get_major_locator().set_params(integer=True)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False)
        return as_data(figure)

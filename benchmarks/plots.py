"""Draws the curves of benchmarks/results/*.json into docs/.

python benchmarks/plots.py
"""

import json
from pathlib import Path

from matplotlib.figure import Figure

REPO = Path(__file__).resolve().parents[1]


def read_results():
    """The results of each machine, in the order of their file names."""
    paths = sorted((REPO / "benchmarks/results").glob("*.json"))
    return [json.loads(path.read_text(encoding="utf-8")) for path in paths]


def draw_scaling(results, path):
    """Seconds of the connector by prompts x steps, against the batched slope of the smallest run of each machine."""
    figure = Figure(figsize=(7, 4.2), layout="constrained")
    axes = figure.subplots()
    for result in results:
        points = sorted(result["curve"]["points"], key=lambda point: point["prompts"] * point["steps"])
        counts = [point["prompts"] * point["steps"] for point in points]
        seconds = [point["seconds"] for point in points]
        (line,) = axes.loglog(counts, seconds, "o", label=result["device"])
        slope = result["curve"]["slope"]
        ends = [counts[0], counts[-1]]
        label = f"{slope * 1000:.3g} ms each (one prompt in one batch)"
        axes.loglog(ends, [slope * end for end in ends], "-", color=line.get_color(), linewidth=1, label=label)
        for count in dict.fromkeys(counts):
            same = [index for index, other in enumerate(counts) if other == count]
            text = ", ".join(f"{points[index]['prompts']}x{points[index]['steps']}" for index in same)
            top = (count, max(seconds[index] for index in same))
            axes.annotate(text, top, xytext=(-7, 5), textcoords="offset points", fontsize=7, ha="right")
    axes.set_xlabel("prompts x steps")
    axes.set_ylabel("seconds of the connector in a run")
    axes.set_title("The connector's cost grows with prompts x steps, not with images")
    axes.grid(True, which="both", alpha=0.25)
    axes.legend(fontsize=8)
    figure.savefig(path, dpi=110)


def main():
    draw_scaling(read_results(), REPO / "docs/connector_cost.png")


if __name__ == "__main__":
    main()

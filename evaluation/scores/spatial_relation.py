"""T2I-CompBench's score of where one detected object is from another (section 4.2 of arXiv 2307.06350)."""

from __future__ import annotations

from typing import NamedTuple

IOU = 0.1
NEAR = 150  # pixels between centres that still are near
LEAST = 0.5


class Detection(NamedTuple):
    """A detected object: its name, the detector's confidence (0 to 1), and its box (x0, y0, x1, y1) in pixels."""

    label: str
    confidence: float
    box: tuple[float, float, float, float]


def spatial_score(objects, relation, detections):
    """0, or 0.5 to 1: a quarter for each object's confidence and a half for their position, scores below 0.5 set to 0.

    `objects` are two names (or none), `relation` is as in a prompt, the first Detection of each name counts. As in the
    official script, "on top of" has no position of its own and earns none.
    """
    found = [next((one for one in detections if one.label == name), None) for name in objects]
    score = sum(0.25 * one.confidence for one in found if one is not None)
    if len(found) == 2 and None not in found:
        score += 0.5 * position(relation, found[0].box, found[1].box)
    return score if score >= LEAST else 0.0


def position(relation, first, second):
    """0 to 1: how well two boxes stand as `relation` says of the first."""
    x = (second[0] + second[2]) / 2 - (first[0] + first[2]) / 2
    y = (second[1] + second[3]) / 2 - (first[1] + first[3]) / 2
    if relation in ("next to", "on side of", "near"):
        return 1.0 if min(abs(x), abs(y)) < NEAR else NEAR / max(abs(x), abs(y))
    right_way = {
        "on the right of": x < 0 and abs(x) > abs(y),
        "on the left of": x > 0 and abs(x) > abs(y),
        "on the bottom of": y < 0 and abs(y) > abs(x),
        "on the top of": y > 0 and abs(y) > abs(x),
    }
    if not right_way.get(relation, False):
        return 0.0
    overlap = intersection_over_union(first, second)
    return 1.0 if overlap < IOU else IOU / overlap


def intersection_over_union(first, second):
    """0 to 1 of two boxes (x0, y0, x1, y1)."""
    width = max(0, min(first[2], second[2]) - max(first[0], second[0]))
    height = max(0, min(first[3], second[3]) - max(first[1], second[1]))
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (first, second)]
    union = sum(areas) - width * height
    return width * height / union if union else 0.0

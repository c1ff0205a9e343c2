"""GenEval's test of a picture: are the demanded objects there, as many, of that colour, in that place?"""

from __future__ import annotations

import math

CONFIDENCE = 0.3
COUNTING_CONFIDENCE = 0.9  # of the task counting
MOST = 16  # objects of a class
POSITION = 0.1  # share of both objects' sizes by which they must be apart
COLORS = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "brown", "black", "white")


def meets_demands(details, detections, color_of):
    """(whether a picture meets a prompt's demands, why not).

    `details` as in a Question of kind OBJECTS, `detections` as in spatial_relation.py of any confidence, and
    `color_of(detection)` one of COLORS; it is asked only of objects whose colour matters.
    """
    least = COUNTING_CONFIDENCE if details["tag"] == "counting" else CONFIDENCE
    objects = {}
    for one in sorted(detections, key=lambda one: -one.confidence):
        if one.confidence > least:
            objects.setdefault(one.label, []).append(one)
    objects = {label: found[:MOST] for label, found in objects.items()}
    reasons, groups = [], []
    for demand in details["include"]:
        found = objects.get(demand["class"], [])[: demand["count"]]
        failure = _failure(demand, found, groups, color_of)
        groups.append(None if failure else found)
        reasons += [failure] if failure else []
    for demand in details.get("exclude", ()):
        found = len(objects.get(demand["class"], ()))
        if found >= demand["count"]:
            reasons.append(f"expected {demand['class']}<{demand['count']}, found {found}")
    return not reasons, "; ".join(reasons)


def _failure(demand, found, groups, color_of):
    name, count = demand["class"], demand["count"]
    if len(found) < count:
        return f"expected {name}>={count}, found {len(found)}"
    failure = ""
    if "color" in demand:
        colors = [color_of(one) for one in found]
        if colors.count(demand["color"]) < count:
            failure = f"expected {demand['color']} {name}>={count}, found {', '.join(colors)}"
    if "position" in demand and not failure:
        place, target = demand["position"]
        if groups[target] is None:
            return f"no target for {name} to be {place}"
        for one in found:
            for other in groups[target]:
                if place not in places(one.box, other.box):
                    return f"expected {name} {place} target"
    return failure


def places(box, other):
    """Where a box is from another: a subset of {"left of", "right of", "above", "below"}."""
    offset = [(box[i] + box[i + 2] - other[i] - other[i + 2]) / 2 for i in (0, 1)]
    sizes = [abs(box[i + 2] - box[i]) + abs(other[i + 2] - other[i]) for i in (0, 1)]
    apart = [math.copysign(max(abs(o) - POSITION * s, 0), o) for o, s in zip(offset, sizes)]
    if all(abs(distance) < 1e-3 for distance in apart):
        return set()
    x, y = (distance / math.hypot(*offset) for distance in apart)
    names = {"left of": x < -0.5, "right of": x > 0.5, "above": y < -0.5, "below": y > 0.5}
    return {name for name, holds in names.items() if holds}

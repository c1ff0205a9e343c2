"""Side by side in one process: alternatives run in turn, and what is reported is the ratio of each round."""

import statistics
import time
from dataclasses import asdict, dataclass

import torch


@dataclass
class Row:
    """One line of the results: median of the rounds' ratios, with their least and greatest, and both medians."""

    measure: str
    against: str
    ratio: float
    least: float
    greatest: float
    ours: float
    theirs: float
    unit: str
    note: str = ""

    def as_dict(self):
        return asdict(self)


def synchronise():
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def seconds(run):
    synchronise()
    started = time.perf_counter()
    run()
    synchronise()
    return time.perf_counter() - started


def interleaved(measure, against, ours, theirs, rounds, note=""):
    """Row of ours / theirs in seconds, after one uncounted round; the order of the two changes from round to round."""
    ours(), theirs()
    pairs = []
    for index in range(rounds):
        if index % 2:
            their_time, our_time = seconds(theirs), seconds(ours)
        else:
            our_time, their_time = seconds(ours), seconds(theirs)
        pairs.append((our_time, their_time))
    return row(measure, against, pairs, "s", note)


def row(measure, against, pairs, unit, note=""):
    ratios = [our / their for our, their in pairs]
    return Row(
        measure,
        against,
        statistics.median(ratios),
        min(ratios),
        max(ratios),
        statistics.median(our for our, _ in pairs),
        statistics.median(their for _, their in pairs),
        unit,
        note,
    )

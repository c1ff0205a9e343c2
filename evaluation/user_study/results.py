"""What the votes say: how often each run was preferred, how sure that is, and whether the raters agree."""

from __future__ import annotations

from itertools import combinations

import krippendorff
import numpy as np

from ..scores.intervals import interval
from .study_folder import QUESTIONS


def results(votes, labels):
    """{"raters", "votes", and for alignment and aesthetics {"wins", "first", "agreement"}}, rates from 0 to 100.

    Of two votes of a rater on one sheet the later counts. Intervals resample prompts, so that the votes of many raters
    on one prompt count as one finding about it, and no more.
    """
    votes = list({(vote["rater"], vote["prompt"]): vote for vote in votes}.values())
    found = {"raters": len({vote["rater"] for vote in votes}), "votes": len(votes)}
    for question in QUESTIONS:
        found[question] = {
            "wins": [win_rate(votes, question, a, b) for a, b in combinations(labels, 2)],
            "first": {label: first_places(votes, question, label) for label in labels},
            "agreement": agreement(votes, question, labels),
        }
    return found


def win_rate(votes, question, a, b):
    """How often run a was ranked above run b; a tie counts half."""
    outcomes = [preference(vote[question], a, b) for vote in votes]
    rate, bounds = rate_of(votes, [(outcome + 1) / 2 for outcome in outcomes])
    return {
        "a": a,
        "b": b,
        "rate": rate,
        "interval": bounds,
        "wins": outcomes.count(1),
        "ties": outcomes.count(0),
        "losses": outcomes.count(-1),
    }


def first_places(votes, question, label):
    """How often a run was ranked first; a shared first place counts as its share."""
    shares = []
    for vote in votes:
        first = [other for other, rank in vote[question].items() if rank == 1]
        shares.append((label in first) / len(first))
    rate, bounds = rate_of(votes, shares)
    return {"rate": rate, "interval": bounds}


def rate_of(votes, values):
    """(mean of values 0 to 1 in percent, its 95 % interval or None), None without votes."""
    if not votes:
        return None, None
    sums, counts = {}, {}
    for vote, value in zip(votes, values, strict=True):
        sums[vote["prompt"]] = sums.get(vote["prompt"], 0) + 100 * value
        counts[vote["prompt"]] = counts.get(vote["prompt"], 0) + 1
    return 100 * float(np.mean(values)), interval(list(sums.values()), list(counts.values()))


def preference(ranks, a, b):
    """1 where a is ranked above b, -1 where below, 0 where they share a rank."""
    return int(np.sign(ranks[b] - ranks[a]))


def agreement(votes, question, labels):
    """{"alpha": Krippendorff's, ordinal over below, tie, above; "same": percent of two raters' judgements that agree}.

    An alpha of 1 is full agreement, 0 is chance. Both are None where no sheet has votes of two raters, and alpha where
    all judgements are the same one.
    """
    raters = sorted({vote["rater"] for vote in votes})
    units = {}
    for vote in votes:
        for a, b in combinations(labels, 2):
            unit = units.setdefault((vote["prompt"], a, b), {})
            unit[vote["rater"]] = preference(vote[question], a, b)
    shared = [unit for unit in units.values() if len(unit) > 1]
    pairs = [x == y for unit in shared for x, y in combinations(unit.values(), 2)]
    if not pairs:
        return {"alpha": None, "same": None}
    table = np.array([[unit.get(rater, np.nan) for unit in shared] for rater in raters])
    distinct = len({value for unit in shared for value in unit.values()})
    alpha = krippendorff.alpha(table, value_domain=[-1, 0, 1], level_of_measurement="ordinal") if distinct > 1 else None
    return {"alpha": None if alpha is None else float(alpha), "same": 100 * float(np.mean(pairs))}


def table(found, labels):
    """The results as lines of text."""
    lines = [f"{found['votes']} votes of {found['raters']} raters"]
    for question in QUESTIONS if found["votes"] else ():
        part = found[question]
        lines.append(f"{question}:")
        for win in part["wins"]:
            lines.append(
                f"  {win['a']} above {win['b']}: {percent(win)}, {win['wins']} wins, {win['ties']} ties, "
                f"{win['losses']} losses"
            )
        if len(labels) > 2:
            lines += [f"  {label} first: {percent(first)}" for label, first in part["first"].items()]
        alpha, same = part["agreement"]["alpha"], part["agreement"]["same"]
        if same is not None:
            certain = f", Krippendorff's alpha {alpha:.2f}" if alpha is not None else ""
            lines.append(f"  two raters judge the same in {same:.0f} %{certain}")
    return "\n".join(lines)


def percent(rate):
    """A rate with its interval."""
    bounds = rate["interval"]
    return f"{rate['rate']:.1f} %" + (f" ({bounds[0]:.1f} .. {bounds[1]:.1f})" if bounds else "")

"""How sure a score is: bootstrap intervals over prompts, and the comparison of two runs on the same prompts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import binomtest, bootstrap

from ..errors import EvaluationError

RESAMPLES = 2000
CONFIDENCE = 0.95
SEED = 0  # the same answers give the same interval


def interval(values, counts=None):
    """95 % interval [low, high] of a mean by resampling prompts, or None with fewer than two of them.

    `values` holds a number for each prompt; with `counts` (as many), the mean is sum(values) / sum(counts).
    """
    values = np.asarray(values, float)
    if len(values) < 2:
        return None
    counts = np.ones_like(values) if counts is None else np.asarray(counts, float)
    if np.ptp(values / counts) == 0:
        return [float(values[0] / counts[0])] * 2
    if np.ptp(counts) == 0:
        data, statistic = (values / counts[0],), np.mean
    else:
        data, statistic = (values, counts), ratio
    low, high = bootstrap(
        data,
        statistic,
        paired=True,
        vectorized=True,
        n_resamples=RESAMPLES,
        confidence_level=CONFIDENCE,
        method="percentile",
        rng=np.random.default_rng(SEED),
    ).confidence_interval
    return [float(low), float(high)]


def ratio(values, counts, axis):
    """Mean of what was counted, over resampled prompts."""
    return values.sum(axis) / counts.sum(axis)


def intervals(score):
    """{"overall": [low, high], category: [low, high]} of a Score, from 0 to 100; None where one prompt is not enough.

    Where the overall number is a mean over tasks, prompts are resampled within their tasks.
    """
    found = {"overall": interval_over_tasks(score) if score.tasks else interval(list(score.prompts.values()))}
    for name in score.categories:
        sums, counts = score.parts[name]
        found[name] = interval(100 * np.array(list(sums.values())), list(counts.values()))
    return found


def interval_over_tasks(score):
    """95 % interval of a mean over tasks of means over prompts."""
    tasks = {}
    for prompt_id, task in score.tasks.items():
        tasks.setdefault(task, []).append(score.prompts[prompt_id])
    if min(len(values) for values in tasks.values()) < 2:
        return None
    data = [np.asarray(values, float) for values in tasks.values()]
    if all(np.ptp(values) == 0 for values in data):
        return [score.overall] * 2

    def mean_of_means(*samples, axis):
        return np.mean([sample.mean(axis) for sample in samples], axis=0)

    low, high = bootstrap(
        data,
        mean_of_means,
        vectorized=True,
        n_resamples=RESAMPLES,
        confidence_level=CONFIDENCE,
        method="percentile",
        rng=np.random.default_rng(SEED),
    ).confidence_interval
    return [float(low), float(high)]


@dataclass(frozen=True)
class Comparison:
    """Run A less run B, prompt by prompt: mean difference with its 95 % interval, and the sign test.

    `better`, `worse` and `same` count prompts; `p_value` is two-sided, of as uneven a split among those that differ.
    """

    difference: float
    interval: list[float] | None
    better: int
    worse: int
    same: int
    p_value: float
    differences: dict[str, float]


def compare(a, b):
    """The Comparison of two Scores; EvaluationError where they are not of the same rule and prompts."""
    if a.rule != b.rule or a.prompts.keys() != b.prompts.keys():
        lacking = sorted(a.prompts.keys() ^ b.prompts.keys())
        found = (
            f"the prompt {lacking[0]} is in one of them alone" if lacking else f"their rules are {a.rule} and {b.rule}"
        )
        raise EvaluationError(f"the two runs can't be compared: {found}; compare runs of one suite by one rule.")
    differences = {prompt_id: a.prompts[prompt_id] - b.prompts[prompt_id] for prompt_id in a.prompts}
    values = np.array(list(differences.values()))
    better, worse = int((values > 0).sum()), int((values < 0).sum())
    p_value = float(binomtest(better, better + worse).pvalue) if better + worse else 1.0
    return Comparison(
        float(values.mean()), interval(values), better, worse, len(values) - better - worse, p_value, differences
    )

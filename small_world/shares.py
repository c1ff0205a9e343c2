"""Shares of what pictures get right, with 95 % intervals over seeds and prompts.

All trainings of a kind draw the same prompts, so that their pictures are not independent, neither those of a training
nor those of a prompt. The bootstrap draws seeds and prompts anew, each on their own (Owen, The pigeonhole bootstrap,
The Annals of Applied Statistics 1, 2007).
"""

from collections.abc import Sequence

import numpy as np

RESAMPLES = 2000
Pictures = Sequence[dict]  # what the pictures of one training got right, as results.jsonl has them
Interval = tuple[float, float, float]  # value, low, high


def share(seeds: Sequence[Pictures], aspect: str) -> Interval | None:
    """Percent of what is asked in these pictures of several trainings; None where nothing is."""
    found = _resampled(seeds, aspect, 1)
    return None if found is None else _interval(found)


def difference(
    seeds: Sequence[Pictures], others: Sequence[Pictures], aspect: str, same_trainings: bool = False
) -> Interval | None:
    """By how many percent points `seeds` have a higher share than `others` of the same prompts; None where nothing is
    asked. With `same_trainings` both are of the same ones in the same order."""
    found, than = _resampled(seeds, aspect, 1), _resampled(others, aspect, 1 if same_trainings else 2)
    return None if found is None or than is None else _interval(found - than)


def _interval(resampled: np.ndarray) -> Interval:
    low, high = np.percentile(resampled[1:], (2.5, 97.5))
    return float(resampled[0]), float(low), float(high)


def _resampled(seeds: Sequence[Pictures], aspect: str, state: int) -> np.ndarray | None:
    """The share, then those of `RESAMPLES` resamples. Prompts are drawn the same for every `state`, seeds are not."""
    numbers = sorted({picture["number"] for pictures in seeds for picture in pictures})
    column = {number: index for index, number in enumerate(numbers)}
    right, of = np.zeros((2, len(seeds), len(numbers)))
    for row, pictures in enumerate(seeds):
        for picture in pictures:
            right[row, column[picture["number"]]] += picture[aspect][0]
            of[row, column[picture["number"]]] += picture[aspect][1]
    if not of.sum():
        return None
    times_seed, times_prompt = _times(len(seeds), state), _times(len(numbers), 0)
    right = ((times_seed @ right) * times_prompt).sum(1)
    of = ((times_seed @ of) * times_prompt).sum(1)
    return 100 * right / np.maximum(of, 1)


def _times(count: int, state: int) -> np.ndarray:
    """(1 + RESAMPLES, count) how often each of `count` is drawn: each once, then at random."""
    drawn = np.random.default_rng(state).multinomial(count, np.full(count, 1 / count), RESAMPLES)
    return np.concatenate([np.ones((1, count)), drawn])

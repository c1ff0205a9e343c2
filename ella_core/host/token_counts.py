"""What different numbers of tokens for the positive and the negative cost, told once."""

import logging
import math
from functools import cache

MOST_REPEATS = 4  # the host repeats tokens to a common length, up to so often, to evaluate both in one UNet call


def fit_one_call(count, other):
    """Whether the host evaluates conditions of so many tokens each in one UNet call."""
    return math.lcm(count, other) // min(count, other) <= MOST_REPEATS


def tell_two_calls(positive, negative, has_clip_positive, has_clip_negative):
    """Logs once in a session that the host needs two UNet calls a step, and the remedy; takes two CONDITIONING."""
    counts = {(one[0].shape[1], other[0].shape[1]) for one in positive for other in negative or ()}
    unequal = sorted(pair for pair in counts if not fit_one_call(*pair))
    if unequal and has_clip_positive != has_clip_negative:
        tell(*unequal[0], "clip_negative" if has_clip_positive else "clip_positive")


@cache
def tell(count, other, missing):
    logging.warning(
        f"Apply ELLA made {count} tokens for the positive and {other} for the negative, so ComfyUI evaluates the UNet "
        f"twice in each step instead of once; wire a CLIP Text Encode to {missing} too (its prompt may be empty)."
    )

"""The optimizer, the learning rate of a step, and the moving average of the weights."""

from __future__ import annotations

import math

import torch
from torch.optim.swa_utils import AveragedModel

from .errors import TrainingError


def new_optimizer(parameters, options):
    """AdamW with the betas and epsilon of the authors' later recipe (arXiv 2406.09162), or its 8-bit form.

    Raises TrainingError where the 8-bit form's library is not installed.
    """
    settings = {"lr": options.learning_rate, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": options.weight_decay}
    if options.optimizer == "adamw":
        return torch.optim.AdamW(parameters, **settings)
    try:
        import bitsandbytes
    except ImportError:
        raise TrainingError(
            "--optimizer adamw8bit needs bitsandbytes, which is not installed; run `pip install bitsandbytes`, or use "
            "--optimizer adamw."
        ) from None
    return bitsandbytes.optim.AdamW8bit(parameters, **settings)


def learning_rate(options, step):
    """The rate of a step, counted from 0: a tenth at first, all after the warm-up, then as the schedule has it."""
    rate = options.learning_rate
    if step < options.warmup_steps:
        return rate * (0.1 + 0.9 * step / options.warmup_steps)
    if options.schedule == "constant":
        return rate
    part = (step - options.warmup_steps) / max(1, options.steps - options.warmup_steps)
    return rate * 0.5 * (1 + math.cos(math.pi * min(part, 1.0)))


def new_average(connector, decay):
    """The moving average of a connector's weights, an AveragedModel whose `module` is a connector too.

    The decay rises from 0.1 as (1 + steps) / (10 + steps), so that a short run's average is not its beginning.
    """

    def average(averages, weights, count):
        count = int(count)
        torch._foreach_lerp_(averages, weights, 1 - min(decay, (1 + count) / (10 + count)))

    model = AveragedModel(connector, multi_avg_fn=average)
    return model.requires_grad_(False)

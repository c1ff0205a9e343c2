"""A full memory, in a sentence."""

from __future__ import annotations

from contextlib import contextmanager

import torch

from .errors import TrainingError

# What torch says where the error has no class of its own, on a CPU.
SAYS = ("can't allocate memory", "not enough memory")


@contextmanager
def telling_of_memory(options, micro, step):
    """Turns the error of a full memory in a step into a TrainingError that names the options to lower."""
    try:
        yield
    except RuntimeError as error:
        if not isinstance(error, torch.OutOfMemoryError) and not any(one in str(error) for one in SAYS):
            raise
        checkpointing = "" if options.gradient_checkpointing else " or switch --gradient-checkpointing on"
        raise TrainingError(
            f"The memory of the device is full in step {step + 1} with micro-batches of {micro}; lower "
            f"--micro-batch-size{checkpointing}; a step has as many pictures as before."
        ) from None

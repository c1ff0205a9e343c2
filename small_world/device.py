"""The device that the small world is trained and drawn on."""

import torch
from accelerate import PartialState

from ella_core.errors import ELLAError


def chosen_device(name: str | None) -> torch.device:
    """The device "cpu" or "cuda", the best one for None; what `training` does in this process is done there as well.

    Raises:
        ELLAError: this machine has no such device.
    """
    device = PartialState(cpu=name == "cpu").device
    if name not in (None, device.type):
        raise ELLAError(
            f'--device is "{name}", and this machine has "{device.type}"; leave the option out to take that.'
        )
    return device


def device_of(module: torch.nn.Module) -> torch.device:
    """Where a module's weights lie."""
    return next(module.parameters()).device

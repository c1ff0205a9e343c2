"""What the loop is given: batches, and the source that they come from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import torch


@dataclass(frozen=True)
class Batch:
    """Pictures and what was read of their captions; B pictures, T text states, width text_dim.

    `latents` are in the UNet's own space, the host's `latent_format.process_in` applied. `text_states` are a list of B
    tensors (1, T_i, text_dim) where captions differ in length. `sizes` are for SDXL alone: original height and width,
    top and left of the crop, target height and width, in pixels.
    """

    latents: torch.Tensor  # (B, 4, h, w) float32
    text_states: torch.Tensor | list[torch.Tensor]  # (B, T, text_dim)
    sizes: torch.Tensor | None = None  # (B, 6)

    def __len__(self):
        return len(self.latents)

    def to(self, device):
        """The same on a device."""
        states = self.text_states
        states = states.to(device) if isinstance(states, torch.Tensor) else [one.to(device) for one in states]
        return Batch(self.latents.to(device), states, None if self.sizes is None else self.sizes.to(device))


class DataSource(Protocol):
    """An endless supply of batches, whose position can be saved and taken up again exactly.

    `empty_states` (1, T, text_dim) are the text states of the empty prompt, which the loop puts in place of those of
    the captions that it drops. `facts` are the fields of TextEncoderFacts, compared when a run is resumed.
    """

    empty_states: torch.Tensor
    facts: dict

    def batches(self, batch_size: int, rank: int, world_size: int) -> Iterator[Batch]:
        """Endless batches of `batch_size` pictures for process `rank`.

        The k-th batch of a rank is the (k * world_size + rank)-th of the run, so that any number of processes sees the
        same pictures in a step.
        """
        ...

    def state_dict(self) -> dict:
        """The position after the last batch that was given out: values of JSON and tensors."""
        ...

    def load_state_dict(self, state: dict) -> None: ...

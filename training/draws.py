"""What chance decides for each picture of a step: its timestep, its noise, whether its prompt is dropped.

Everything is a function of the run's seed, the step and the picture's place in the step. So there is no random state to
save, a run that goes on draws what an uninterrupted one would have, and it does not matter how a step is cut into
micro-batches and processes, or on which device.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

TIMESTEPS = 1000
MIX = 0x9E3779B97F4A7C15  # splitmix64's increment


@dataclass(frozen=True)
class Draws:
    """Of B pictures."""

    timesteps: torch.Tensor  # (B,) int64 in 0..999, uniform
    noise: torch.Tensor  # (B, 4, h, w) float32, of deviation 1 but for the noise offset
    dropped: torch.Tensor  # (B,) bool, whether the empty prompt takes the place of the caption


def draw(seed, step, first, shape, drop_prompt=0.0, noise_offset=0.0):
    """Draws of pictures `first`, `first` + 1, ... of a step, for latents of shape (B, 4, h, w), on the CPU."""
    noise = torch.empty(shape)
    timesteps = torch.empty(shape[0], dtype=torch.int64)
    chances = torch.empty(shape[0])
    generator = torch.Generator()
    for row in range(shape[0]):
        generator.manual_seed(mixed(seed, step, first + row))
        timesteps[row] = torch.randint(TIMESTEPS, (), generator=generator)
        chances[row] = torch.rand((), generator=generator)
        noise[row].normal_(generator=generator)
        if noise_offset:
            noise[row] += noise_offset * torch.randn(shape[1], 1, 1, generator=generator)
    return Draws(timesteps, noise, chances < drop_prompt)


def mixed(*numbers):
    """One 64-bit seed of several whole numbers, in the manner of splitmix64."""
    state = 0
    for number in numbers:
        state = (state + number + MIX) & 0xFFFFFFFFFFFFFFFF
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & 0xFFFFFFFFFFFFFFFF
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & 0xFFFFFFFFFFFFFFFF
        state ^= state >> 31
    return state

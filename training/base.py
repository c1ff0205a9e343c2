"""What a frozen diffusion model is to the training."""

from __future__ import annotations

from typing import Protocol

import torch


class Base(Protocol):
    """A diffusion model whose weights never change.

    `prediction` is what its UNet predicts, "eps" or "v". `alphas_cumprod` (1000,) float64 is its noise schedule.
    `context_width` is that of the tokens it attends to. `name` goes into connector files: "sd15", "sdxl" or another
    word. `module` holds its parameters, all frozen.
    """

    prediction: str
    alphas_cumprod: torch.Tensor
    context_width: int
    name: str
    module: torch.nn.Module

    def predict(self, noisy_latents, timesteps, context, pooled=None, sizes=None) -> torch.Tensor:
        """Noisy latents (B, 4, h, w), timesteps (B,) in 0..999 and tokens (B, Q, width) -> the prediction, as latents.

        `pooled` (B, pooled_dim) and `sizes` (B, 6) are for SDXL alone. Gradients reach context and pooled.
        """
        ...


def stable_diffusion_alphas_cumprod():
    """The schedule of Stable Diffusion, (1000,) float64: betas from 0.00085 to 0.012, linear in their root."""
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
    return (1 - betas).cumprod(dim=0)

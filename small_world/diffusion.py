"""Stable Diffusion's noise schedule and a deterministic sampler, for training and measuring what is narrow."""

from collections.abc import Callable

import torch


def alphas_cumprod() -> torch.Tensor:
    """(1000,) float32: Stable Diffusion's schedule, betas 0.00085 to 0.012, linear in their roots."""
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
    return (1 - betas).cumprod(0).float()


def noised(latents: torch.Tensor, noise: torch.Tensor, timesteps: torch.Tensor, alphas: torch.Tensor) -> torch.Tensor:
    """Latents (B, C, h, w) with the noise of each sample's timestep (B,)."""
    alpha = alphas[timesteps].view(-1, 1, 1, 1)
    return alpha.sqrt() * latents + (1 - alpha).sqrt() * noise


@torch.inference_mode()
def sample(predict: Callable, noise: torch.Tensor, steps: int = 20) -> torch.Tensor:
    """DDIM (arXiv 2010.02502, eta 0) from noise (B, C, h, w); `predict(latents, timesteps (B,))` is the noise,
    guidance included."""
    alphas = alphas_cumprod()
    times = torch.linspace(999, 0, steps + 1).round().long()
    x = noise
    for now, after in zip(times[:-1], times[1:]):
        eps = predict(x, now.expand(len(x)))
        clean = ((x - (1 - alphas[now]).sqrt() * eps) / alphas[now].sqrt()).clamp(-4, 4)
        x = alphas[after].sqrt() * clean + (1 - alphas[after]).sqrt() * eps
    return clean

"""A deterministic sampler on Stable Diffusion's noise schedule, for measuring what is narrow."""

from collections.abc import Callable

import torch

from training.base import stable_diffusion_alphas_cumprod


@torch.inference_mode()
def sample(predict: Callable, noise: torch.Tensor, steps: int = 20) -> torch.Tensor:
    """DDIM (arXiv 2010.02502, eta 0) from noise (B, C, h, w); `predict(latents, timesteps (B,))` is the noise,
    guidance included."""
    alphas = stable_diffusion_alphas_cumprod().float()
    times = torch.linspace(999, 0, steps + 1).round().long()
    x = noise
    for now, after in zip(times[:-1], times[1:]):
        eps = predict(x, now.expand(len(x)).to(x.device))
        clean = ((x - (1 - alphas[now]).sqrt() * eps) / alphas[now].sqrt()).clamp(-4, 4)
        x = alphas[after].sqrt() * clean + (1 - alphas[after]).sqrt() * eps
    return clean

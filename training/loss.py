"""One step of training, as far as its loss: noise the latents, ask the frozen UNet, compare (arXiv 2403.05135, 3.2)."""

from __future__ import annotations

import torch
from torch import nn

from .errors import TrainingError


class Conditioner(nn.Module):
    """The connector and all that a UNet gets of it, in one forward, so that Accelerate may wrap it.

    Text states (B, T, text_dim), or a list of (1, T_i, text_dim), and timesteps (B,) -> (tokens (B, Q, width), pooled
    vectors (B, pooled_dim) or None).
    """

    def __init__(self, connector):
        super().__init__()
        self.connector = connector

    def forward(self, text_states, timesteps):
        if isinstance(text_states, torch.Tensor):
            tokens = self.connector(text_states, timesteps)  # (B, Q, W)
        else:
            tokens = self.of_each_length(text_states, timesteps)  # (B, Q, W)
        return tokens, None if self.connector.pool is None else self.connector.pooled(tokens)

    def of_each_length(self, text_states, timesteps):
        """Tokens of texts of different lengths, one forward for all that are equally long."""
        rows = {}
        for row, states in enumerate(text_states):
            rows.setdefault(states.shape[1], []).append(row)
        tokens = [None] * len(text_states)
        for of_length in rows.values():
            states = torch.cat([text_states[row] for row in of_length])
            for row, one in zip(of_length, self.connector(states, timesteps[of_length])):
                tokens[row] = one
        if len({len(one) for one in tokens}) > 1:
            raise TrainingError(
                "This kind of connector makes as many tokens as a text has, and the texts of a micro-batch have "
                "different lengths; pad them with --max-length 128, or set --micro-batch-size 1."
            )
        return torch.stack(tokens)


def drop_prompts(text_states, dropped, empty_states):
    """Text states in which those of the `dropped` (B,) pictures are `empty_states` (1, T, text_dim)."""
    if not dropped.any():
        return text_states
    if isinstance(text_states, torch.Tensor) and text_states.shape[1] == empty_states.shape[1]:
        return torch.where(dropped.to(text_states.device)[:, None, None], empty_states.to(text_states), text_states)
    states = text_states.split(1) if isinstance(text_states, torch.Tensor) else text_states
    return [empty_states.to(one) if drop else one for one, drop in zip(states, dropped.tolist())]


def add_noise(latents, noise, alphas_cumprod, timesteps, prediction):
    """(noisy latents, what the UNet should predict of them) at timesteps (B,), both (B, 4, h, w).

    x_t = sqrt(a) x + sqrt(1 - a) e (arXiv 2006.11239, equation 4); v = sqrt(a) e - sqrt(1 - a) x (arXiv 2202.00512).
    """
    a = alphas_cumprod[timesteps].to(latents.device)[:, None, None, None]
    signal, deviation = a.sqrt().to(latents.dtype), (1 - a).sqrt().to(latents.dtype)
    noisy = signal * latents + deviation * noise
    return noisy, noise if prediction == "eps" else signal * noise - deviation * latents


def min_snr_weights(alphas_cumprod, timesteps, prediction, gamma):
    """Weights (B,) of the losses at timesteps: min(SNR, gamma) / SNR for eps, / (SNR + 1) for v (arXiv 2303.09556)."""
    a = alphas_cumprod[timesteps]
    signal_to_noise = a / (1 - a)
    return signal_to_noise.clamp(max=gamma) / (signal_to_noise + (prediction == "v"))


def losses(base, conditioner, batch, draws, empty_states, min_snr=0.0):
    """Squared error (B,) float32 of the prediction for each picture of a batch, its mean over the latent's numbers.

    Each picture's own timestep goes to the UNet and to the connector. The latents' device is where all is computed.
    """
    device = batch.latents.device
    timesteps = draws.timesteps.to(device)
    text_states = drop_prompts(batch.text_states, draws.dropped, empty_states)
    tokens, pooled = conditioner(text_states, timesteps)
    noise = draws.noise.to(batch.latents)
    noisy, target = add_noise(batch.latents, noise, base.alphas_cumprod, draws.timesteps, base.prediction)
    found = base.predict(noisy, timesteps, tokens, pooled, batch.sizes)
    of_each = (found.to(target.dtype) - target).square().flatten(1).mean(dim=1)  # (B,)
    if min_snr:
        of_each = of_each * min_snr_weights(base.alphas_cumprod, draws.timesteps, base.prediction, min_snr).to(of_each)
    return of_each

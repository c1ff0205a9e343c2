"""The Timestep-Aware Semantic Connector (TSC) of ELLA, arXiv 2403.05135, section 3.2 and figure 3.

A resampler in the manner of Perceiver: learned queries attend to themselves and to the text states, and every
LayerNorm is shifted and scaled by the timestep (AdaLN), so that each denoising step gets tokens of its own.
Attribute names follow the keys of the released checkpoint.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from .connector import Connector
from .layers import AttentionPool, ConnectorAttention, SquaredReLUMLP


@dataclass(frozen=True)
class ConnectorConfig:
    """Sizes of a connector. The defaults are those of the released one for Stable Diffusion 1.5."""

    width: int = 768  # of the tokens, the context width of the diffusion model
    depth: int = 6
    num_heads: int = 8
    num_queries: int = 64
    text_dim: int = 2048  # of the text states, the width of the language model
    time_channels: int = 320  # of the sinusoid
    time_dim: int = 768
    pooled_dim: int = 0  # of the pooled vector that an SDXL connector may make beside the tokens, 0 for none


def timestep_sinusoid(timesteps, channels):
    """Sinusoidal embedding of timesteps (B,) in steps of 0..999 -> (B, channels) float32, cosines first.

    The frequencies fall from 1 to nearly 1/10000 without shift (Ho et al., arXiv 2006.11239, as in diffusers'
    `Timesteps(flip_sin_to_cos=True, downscale_freq_shift=0)`).
    """
    half = channels // 2
    exponents = torch.arange(half, dtype=torch.float32, device=timesteps.device) / half
    angles = timesteps.float()[:, None] * torch.exp(-math.log(10000.0) * exponents)
    return torch.cat([angles.cos(), angles.sin()], dim=-1)


class TimestepEmbedding(nn.Module):
    """Two linear layers with SiLU between them: sinusoid (B, time_channels) -> (B, time_dim)."""

    def __init__(self, time_channels, time_dim, operations, **factory):
        super().__init__()
        self.linear_1 = operations.Linear(time_channels, time_dim, **factory)
        self.linear_2 = operations.Linear(time_dim, time_dim, **factory)

    def forward(self, sinusoid):
        return self.linear_2(F.silu(self.linear_1(sinusoid)))  # (B, time_dim)


class AdaptiveLayerNorm(nn.Module):
    """LayerNorm without weights of its own, shifted and scaled by the timestep (AdaLN)."""

    def __init__(self, width, time_dim, operations, **factory):
        super().__init__()
        self.linear = operations.Linear(time_dim, 2 * width, **factory)
        self.norm = operations.LayerNorm(width, elementwise_affine=False, eps=1e-6, **factory)

    def initialise(self):
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def modulation(self, time):
        return self.linear(time)[:, None].chunk(2, dim=-1)  # shift and scale, (B, 1, W) each

    def modulate(self, normed, modulation):
        shift, scale = modulation
        return torch.addcmul(shift, normed, 1 + scale)

    def forward(self, x, modulation):
        return self.modulate(self.norm(x), modulation)


class ConnectorBlock(nn.Module):
    """One block: the queries read themselves and the text states, then pass an MLP; both are residual."""

    def __init__(self, width, num_heads, time_dim, operations, **factory):
        super().__init__()
        self.attn = ConnectorAttention(width, num_heads, operations, **factory)
        self.mlp = SquaredReLUMLP(width, operations, **factory)
        self.ln_1 = AdaptiveLayerNorm(width, time_dim, operations, **factory)
        self.ln_2 = AdaptiveLayerNorm(width, time_dim, operations, **factory)
        self.ln_ff = AdaptiveLayerNorm(width, time_dim, operations, **factory)

    def modulations(self, time):
        return self.ln_1.modulation(time), self.ln_2.modulation(time), self.ln_ff.modulation(time)

    def attend(self, queries, normed_text, of_queries, of_text):
        normed = self.ln_1(queries, of_queries)  # (B, Q, W)
        text = self.ln_2.modulate(normed_text, of_text).expand(len(normed), -1, -1)  # (B, T, W)
        return self.attn(normed, torch.cat([normed, text], dim=1))  # (B, Q, W)

    def forward(self, queries, normed_text, modulations):
        of_queries, of_text, of_mlp = modulations
        queries = queries + self.attend(queries, normed_text, of_queries, of_text)  # (B, Q, W)
        return queries + self.mlp(self.ln_ff(queries, of_mlp))  # (B, Q, W)


class TimeAwareResampler(nn.Module):
    """The queries' way through all blocks, in its three parts: what depends on time, on the text, and on both."""

    def __init__(self, config, block, operations, **factory):
        super().__init__()
        width, time_dim = config.width, config.time_dim
        self.latents = nn.Parameter(torch.empty(config.num_queries, width, **factory))
        self.time_aware_linear = operations.Linear(time_dim, width, **factory)
        self.proj_in = operations.Linear(config.text_dim, width, **factory)
        self.norm = operations.LayerNorm(width, elementwise_affine=False, eps=1e-6, **factory)
        self.perceiver_blocks = nn.ModuleList(
            block(width, config.num_heads, time_dim, operations, **factory) for _ in range(config.depth)
        )
        nn.init.normal_(self.latents, std=width**-0.5)

    def read_time(self, time):
        queries = self.latents.to(time) + self.time_aware_linear(time)[:, None]  # (B, Q, W)
        return queries, [block.modulations(time) for block in self.perceiver_blocks]

    def read_text(self, text_states):
        # Every block normalises the same projected text, so that is done once for all blocks and timesteps.
        return self.norm(self.proj_in(text_states))  # (B, T, W)

    def forward(self, normed_text, timed):
        queries, modulations = timed
        queries = queries.expand(max(len(normed_text), len(queries)), -1, -1)
        for block, of_block in zip(self.perceiver_blocks, modulations):
            queries = block(queries, normed_text, of_block)  # (B, Q, W)
        return queries


class TimestepAwareSemanticConnector(Connector):
    """The released network, key for key: text states and timesteps -> the tokens a diffusion UNet attends to."""

    block = ConnectorBlock

    def __init__(self, config=ConnectorConfig(), operations=nn, **factory):
        super().__init__(config, operations)
        self.time_embedding = TimestepEmbedding(config.time_channels, config.time_dim, operations, **factory)
        self.connector = TimeAwareResampler(config, self.block, operations, **factory)
        if config.pooled_dim:
            self.pool = AttentionPool(config.num_queries, config.width, config.pooled_dim, operations, **factory)

    def read_time(self, timesteps, dtype):
        """A pair of the timed queries (B, num_queries, width) and the shifts and scales of each block."""
        sinusoid = timestep_sinusoid(timesteps, self.config.time_channels).to(dtype)  # (B, time_channels)
        return self.connector.read_time(F.silu(self.time_embedding(sinusoid)))  # every reader applies SiLU first

    def tokens(self, text_states, timed):
        return self.connector(self.connector.read_text(text_states), timed)  # (B, Q, W)

    def attentions(self):
        return [block.attn for block in self.connector.perceiver_blocks]

"""The plain resampler of ELLA's ablation (arXiv 2403.05135, table 6): the TSC's blocks without time.

Learned queries attend to themselves and to the text states, as in Flamingo's Perceiver Resampler (arXiv 2204.14198);
LayerNorms have weights of their own.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from .connector import Connector
from .layers import AttentionPool, ConnectorAttention, SquaredReLUMLP


@dataclass(frozen=True)
class ResamplerConfig:
    """Sizes of a resampler. The defaults are the paper's, which also has one of depth 1."""

    width: int = 768
    depth: int = 6
    num_heads: int = 8
    num_queries: int = 64
    text_dim: int = 2048
    pooled_dim: int = 0  # of the pooled vector, 0 for none


class ResamplerBlock(nn.Module):
    def __init__(self, width, num_heads, operations, **factory):
        super().__init__()
        self.attn = ConnectorAttention(width, num_heads, operations, **factory)
        self.mlp = SquaredReLUMLP(width, operations, **factory)
        self.ln_1 = operations.LayerNorm(width, **factory)
        self.ln_2 = operations.LayerNorm(width, **factory)
        self.ln_ff = operations.LayerNorm(width, **factory)

    def forward(self, queries, text):
        normed = self.ln_1(queries)  # (B, Q, W)
        keys = torch.cat([normed, self.ln_2(text)], dim=1)  # (B, Q + T, W)
        queries = queries + self.attn(normed, keys)  # (B, Q, W)
        return queries + self.mlp(self.ln_ff(queries))  # (B, Q, W)


class Resampler(nn.Module):
    def __init__(self, config, operations, **factory):
        super().__init__()
        width = config.width
        self.latents = nn.Parameter(torch.empty(config.num_queries, width, **factory))
        self.proj_in = operations.Linear(config.text_dim, width, **factory)
        self.perceiver_blocks = nn.ModuleList(
            ResamplerBlock(width, config.num_heads, operations, **factory) for _ in range(config.depth)
        )
        nn.init.normal_(self.latents, std=width**-0.5)

    def forward(self, text_states):
        text = self.proj_in(text_states)  # (B, T, W)
        queries = self.latents.to(text).expand(len(text), -1, -1)  # (B, Q, W)
        for block in self.perceiver_blocks:
            queries = block(queries, text)  # (B, Q, W)
        return queries


class ResamplerConnector(Connector):
    """Text states (B, T, text_dim) -> tokens (B, num_queries, width), the same at every timestep."""

    reads_time = False

    def __init__(self, config=ResamplerConfig(), operations=nn, **factory):
        super().__init__(config, operations)
        self.connector = Resampler(config, operations, **factory)
        if config.pooled_dim:
            self.pool = AttentionPool(config.num_queries, config.width, config.pooled_dim, operations, **factory)

    def tokens(self, text_states, timed):
        return self.connector(text_states)

    def attentions(self):
        return [block.attn for block in self.connector.perceiver_blocks]

"""Layers that several connectors share.

`operations` names the layer classes (`Linear`, `LayerNorm`): `torch.nn`, or a namespace whose layers cast their
weights to the input, as a host's do. `factory` is `dtype` and `device`. Attribute names follow the keys of the
released checkpoint.
"""

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import nn

POOL_HEAD_DIM = 64  # as in CLIP


class ConnectorAttention(nn.Module):
    """Multi-head attention with the parameter names of `torch.nn.MultiheadAttention`, which hosts can't cast."""

    def __init__(self, width, num_heads, operations, **factory):
        super().__init__()
        self.num_heads = num_heads
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width, **factory))
        self.in_proj_bias = nn.Parameter(torch.empty(3 * width, **factory))
        self.out_proj = operations.Linear(width, width, **factory)
        nn.init.xavier_uniform_(self.in_proj_weight)
        nn.init.zeros_(self.in_proj_bias)

    def initialise(self):
        nn.init.zeros_(self.out_proj.bias)  # as torch.nn.MultiheadAttention does

    def heads(self, x):
        return rearrange(x, "b tokens (heads w) -> b heads tokens w", heads=self.num_heads)

    def forward(self, queries, keys):
        width = queries.shape[-1]
        weight = self.in_proj_weight.to(queries)
        bias = self.in_proj_bias.to(queries)
        q = F.linear(queries, weight[:width], bias[:width])  # (B, Q, W)
        k, v = F.linear(keys, weight[width:], bias[width:]).chunk(2, dim=-1)  # (B, Q + T, W) each
        out = F.scaled_dot_product_attention(self.heads(q), self.heads(k), self.heads(v))
        return self.out_proj(rearrange(out, "b heads q w -> b q (heads w)"))  # (B, Q, W)


class SquaredReLUMLP(nn.Module):
    def __init__(self, width, operations, **factory):
        super().__init__()
        self.c_fc = operations.Linear(width, 4 * width, **factory)
        self.c_proj = operations.Linear(4 * width, width, **factory)

    def forward(self, x):
        return self.c_proj(F.relu(self.c_fc(x)).square())  # (B, Q, W)


class AttentionPool(nn.Module):
    """Tokens (B, Q, W) -> one vector (B, pooled_dim), as CLIP pools its image features (arXiv 2103.00020, section 2.4).

    The mean of the tokens attends to itself and to all of them, in heads of 64 numbers.
    """

    def __init__(self, num_queries, width, pooled_dim, operations, **factory):
        super().__init__()
        self.num_heads = width // POOL_HEAD_DIM
        self.positional_embedding = nn.Parameter(torch.empty(num_queries + 1, width, **factory))
        self.q_proj = operations.Linear(width, width, **factory)
        self.k_proj = operations.Linear(width, width, **factory)
        self.v_proj = operations.Linear(width, width, **factory)
        self.c_proj = operations.Linear(width, pooled_dim, **factory)
        nn.init.normal_(self.positional_embedding, std=width**-0.5)

    def initialise(self):
        for linear in (self.q_proj, self.k_proj, self.v_proj, self.c_proj):
            nn.init.normal_(linear.weight, std=linear.in_features**-0.5)

    def heads(self, x):
        return rearrange(x, "b tokens (heads w) -> b heads tokens w", heads=self.num_heads)

    def forward(self, tokens):
        x = torch.cat([tokens.mean(dim=1, keepdim=True), tokens], dim=1)  # (B, 1 + Q, W)
        x = x + self.positional_embedding.to(x)
        q, k, v = self.heads(self.q_proj(x[:, :1])), self.heads(self.k_proj(x)), self.heads(self.v_proj(x))
        out = F.scaled_dot_product_attention(q, k, v)  # (B, heads, 1, 64)
        return self.c_proj(rearrange(out, "b heads 1 w -> b (heads w)"))  # (B, pooled_dim)

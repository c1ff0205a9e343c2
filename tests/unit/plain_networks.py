"""The paper's connector written out in float64, for comparison; T5's encoder is in test_t5_arithmetic."""

import math

import torch
import torch.nn.functional as F


def plain_tokens(weights, num_heads, text_states, timestep):
    """Text states (T, text_dim) and a timestep -> tokens (num_queries, width) of the timestep-aware connector."""
    w = {name: value.double() for name, value in weights.items()}

    def linear(name, x):
        return x @ w[name + ".weight"].T + w[name + ".bias"]

    channels = w["time_embedding.linear_1.weight"].shape[1]
    frequencies = torch.exp(-math.log(10000) * torch.arange(channels // 2, dtype=torch.float64) / (channels // 2))
    sinusoid = torch.cat([torch.cos(timestep * frequencies), torch.sin(timestep * frequencies)])
    time = F.silu(linear("time_embedding.linear_2", F.silu(linear("time_embedding.linear_1", sinusoid))))

    def norm(x, name):
        shift, scale = linear(name + ".linear", time).chunk(2)
        variance = ((x - x.mean(-1, keepdim=True)) ** 2).mean(-1, keepdim=True)
        return (x - x.mean(-1, keepdim=True)) / torch.sqrt(variance + 1e-6) * (1 + scale) + shift

    x = w["connector.latents"] + linear("connector.time_aware_linear", time)  # (Q, W)
    text = linear("connector.proj_in", text_states.double())  # (T, W)
    depth = sum(name.endswith(".attn.in_proj_weight") for name in w)
    for block in range(depth):
        name = f"connector.perceiver_blocks.{block}."
        keys = torch.cat([norm(x, name + "ln_1"), norm(text, name + "ln_2")])
        projected = keys @ w[name + "attn.in_proj_weight"].T + w[name + "attn.in_proj_bias"]  # (Q + T, 3 W)
        q, k, v = (part.unflatten(1, (num_heads, -1)).transpose(0, 1) for part in projected.chunk(3, dim=1))
        weight = torch.softmax(q[:, : len(x)] @ k.transpose(1, 2) / math.sqrt(q.shape[-1]), dim=-1)
        x = x + linear(name + "attn.out_proj", (weight @ v).transpose(0, 1).flatten(1))
        x = x + linear(name + "mlp.c_proj", F.relu(linear(name + "mlp.c_fc", norm(x, name + "ln_ff"))) ** 2)
    return x

"""The formulas of each kind of connector, written out in float64 numpy.

`w` is a state dict as numpy arrays, `x` an array (tokens, numbers), `config` the network's sizes.
"""

from math import erf

import numpy as np
from numpy import concatenate, exp, sqrt


def linear(w, name, x):
    return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]


def silu(x):
    return x / (1 + exp(-x))


def gelu(x):
    return x * (1 + np.vectorize(erf)(x / sqrt(2))) / 2


def norm(x, eps):
    return (x - x.mean(-1, keepdims=True)) / sqrt(x.var(-1, keepdims=True) + eps)


def softmax(x):
    x = exp(x - x.max(-1, keepdims=True))
    return x / x.sum(-1, keepdims=True)


def heads_of(q, k, v, heads):
    """Attention of each head on its own slice of the numbers, side by side."""
    size = q.shape[-1] // heads
    slices = [slice(start, start + size) for start in range(0, q.shape[-1], size)]
    return concatenate([softmax(q[:, s] @ k[:, s].T / sqrt(size)) @ v[:, s] for s in slices], axis=-1)


def attention(w, name, queries, keys, heads):
    (wq, wk, wv), (bq, bk, bv) = (np.split(w[f"{name}.in_proj_{part}"], 3) for part in ("weight", "bias"))
    out = heads_of(queries @ wq.T + bq, keys @ wk.T + bk, keys @ wv.T + bv, heads)
    return linear(w, f"{name}.out_proj", out)


def squared_relu_mlp(w, name, x):
    return linear(w, f"{name}.c_proj", np.maximum(linear(w, f"{name}.c_fc", x), 0) ** 2)


def mlp(w, config, text, timestep):
    return linear(w, "connector.c_proj", gelu(linear(w, "connector.c_fc", text)))


def resampler(w, config, text, timestep):
    def affine(name, x):
        return norm(x, 1e-5) * w[f"{name}.weight"] + w[f"{name}.bias"]

    queries, text = w["connector.latents"], linear(w, "connector.proj_in", text)
    for block in (f"connector.perceiver_blocks.{index}" for index in range(config.depth)):
        normed = affine(f"{block}.ln_1", queries)
        keys = concatenate([normed, affine(f"{block}.ln_2", text)])
        queries = queries + attention(w, f"{block}.attn", normed, keys, config.num_heads)
        queries = queries + squared_relu_mlp(w, f"{block}.mlp", affine(f"{block}.ln_ff", queries))
    return queries


def timed(w, config, text, timestep, gates):
    half = config.time_channels // 2
    angles = timestep * exp(-np.log(10000) * np.arange(half) / half)
    sinusoid = concatenate([np.cos(angles), np.sin(angles)])
    time = silu(linear(w, "time_embedding.linear_2", silu(linear(w, "time_embedding.linear_1", sinusoid))))

    def adaln(name, x):
        shift, scale = np.split(linear(w, f"{name}.linear", time), 2)
        return norm(x, 1e-6) * (1 + scale) + shift

    queries = w["connector.latents"] + linear(w, "connector.time_aware_linear", time)
    text = linear(w, "connector.proj_in", text)
    for block in (f"connector.perceiver_blocks.{index}" for index in range(config.depth)):
        of_attention, of_mlp = np.split(linear(w, f"{block}.gates", time), 2) if gates else (1, 1)
        normed = adaln(f"{block}.ln_1", queries)
        keys = concatenate([normed, adaln(f"{block}.ln_2", text)])
        queries = queries + of_attention * attention(w, f"{block}.attn", normed, keys, config.num_heads)
        queries = queries + of_mlp * squared_relu_mlp(w, f"{block}.mlp", adaln(f"{block}.ln_ff", queries))
    return queries


FORMULAS = {
    "mlp": mlp,
    "resampler": resampler,
    "adaln-zero": lambda *inputs: timed(*inputs, gates=True),
    "tsc": lambda *inputs: timed(*inputs, gates=False),
}


def pool(w, tokens):
    x = concatenate([tokens.mean(0, keepdims=True), tokens]) + w["pool.positional_embedding"]
    q, k, v = (linear(w, f"pool.{part}_proj", x) for part in "qkv")
    return linear(w, "pool.c_proj", heads_of(q[:1], k, v, x.shape[1] // 64))[0]

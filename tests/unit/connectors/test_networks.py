"""Each kind of connector against its formulas written out in float64 numpy, and its attention against torch's own."""

import numpy as np
import pytest
import torch
from numpy import concatenate, exp, float64, sqrt

from ella_core import new_connector
from ella_core.connectors.kinds import KINDS

SMALL = {"width": 128, "text_dim": 40}
QUERIES = {"depth": 3, "num_heads": 4, "num_queries": 9, "pooled_dim": 24}
TIME = {"time_channels": 32, "time_dim": 56}
SIZES = {
    "mlp": SMALL,
    "resampler": SMALL | QUERIES,
    "adaln-zero": SMALL | QUERIES | TIME,
    "tsc": SMALL | QUERIES | TIME,
}
LENGTHS = (1, 7, 128, 300)
# Both sides compute in float64, but for the sinusoid, which the network has in float32 as the paper's code does: its
# angles reach 999, so they are wrong by up to 3e-5.
TOLERANCE = {"mlp": 1e-12, "resampler": 1e-12, "adaln-zero": 3e-5, "tsc": 3e-5}


def random_connector(kind, seed=0, **changes):
    """A connector of that kind in float64 whose weights are all random, as no initialisation leaves them."""
    connector = new_connector(kind, dtype=torch.float64, **SIZES[kind] | changes)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in connector.parameters():
            weight.copy_(torch.randn(weight.shape, generator=generator) * (weight.shape[-1] ** -0.5))
    return connector.requires_grad_(False).eval()


def text_states(length, batch=1):
    return torch.randn(batch, length, 40, generator=torch.Generator().manual_seed(length), dtype=torch.float64)


def relative(found, expected):
    found, expected = np.asarray(found), np.asarray(expected)
    assert found.shape == expected.shape
    return abs(found - expected).max() / abs(expected).max()


# The formulas. `w` is a state dict as numpy arrays, `x` an array (tokens, numbers).


def linear(w, name, x):
    return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]


def silu(x):
    return x / (1 + exp(-x))


def gelu(x):
    from math import erf

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


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("kind", FORMULAS)
def test_tokens_are_those_of_the_formulas(kind, length):
    connector = random_connector(kind)
    weights = {name: weight.numpy() for name, weight in connector.state_dict().items()}
    text = text_states(length)
    for timestep in (999, 421, 0):
        tokens = connector(text, torch.tensor([timestep]))
        expected = FORMULAS[kind](weights, connector.config, text[0].numpy(), float64(timestep))
        assert relative(tokens[0], expected) < TOLERANCE[kind]
        if connector.pool is not None:
            assert relative(connector.pooled(tokens)[0], pool(weights, expected)) < TOLERANCE[kind]


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("kind", [kind for kind in FORMULAS if kind != "mlp"])
def test_attention_is_torch_s(kind, length):
    connector = random_connector(kind)
    assert len(connector.attentions()) == 3
    for attention_of_block in connector.attentions():
        theirs = torch.nn.MultiheadAttention(128, 4, batch_first=True, dtype=torch.float64)
        theirs.load_state_dict(attention_of_block.state_dict())
        generator = torch.Generator().manual_seed(length)
        queries, text = (torch.randn(2, n, 128, generator=generator, dtype=torch.float64) for n in (9, length))
        keys = torch.cat([queries, text], dim=1)
        found = attention_of_block(queries, keys)
        assert relative(found, theirs(queries, keys, keys, need_weights=False)[0].detach()) < 1e-12


def test_the_pool_is_torch_s_attention_of_the_mean():
    connector = random_connector("tsc")
    tokens = torch.randn(3, 9, 128, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    p = connector.pool
    x = torch.cat([tokens.mean(dim=1, keepdim=True), tokens], dim=1) + p.positional_embedding
    # As OpenAI's CLIP calls it in its AttentionPool2d; it wants the tokens first.
    expected, _ = torch.nn.functional.multi_head_attention_forward(
        query=x[:, :1].transpose(0, 1), key=x.transpose(0, 1), value=x.transpose(0, 1), embed_dim_to_check=128,
        num_heads=2, q_proj_weight=p.q_proj.weight, k_proj_weight=p.k_proj.weight, v_proj_weight=p.v_proj.weight,
        in_proj_weight=None, in_proj_bias=torch.cat([p.q_proj.bias, p.k_proj.bias, p.v_proj.bias]), bias_k=None,
        bias_v=None, add_zero_attn=False, dropout_p=0.0, out_proj_weight=p.c_proj.weight, out_proj_bias=p.c_proj.bias,
        use_separate_proj_weight=True, training=False, need_weights=False,
    )  # fmt: skip
    assert relative(connector.pooled(tokens), expected[0]) < 1e-12


@pytest.mark.parametrize("kind", FORMULAS)
def test_batches_equal_single_calls(kind):
    """Several prompts, one prompt at several timesteps, and both, in one call."""
    connector = random_connector(kind)
    text, timesteps = text_states(7, batch=3), torch.tensor([999, 500, 3])

    def single(prompts, steps):
        return torch.cat([connector(prompt[None], step[None]) for prompt, step in zip(prompts, steps)])

    both = connector(text, timesteps)
    assert len(both) == 3 and relative(both, single(text, timesteps)) < 1e-12
    of_one = connector(text[:1], timesteps)
    assert len(of_one) == 3 and relative(of_one, single(text[:1].expand(3, -1, -1), timesteps)) < 1e-12
    at_one = connector(text, timesteps[:1])
    assert len(at_one) == 3 and relative(at_one, single(text, timesteps[:1].expand(3))) < 1e-12


@pytest.mark.parametrize("kind", FORMULAS)
def test_whether_time_is_read(kind):
    connector, text = random_connector(kind), text_states(7)
    first, second = connector(text, torch.tensor([900])), connector(text, torch.tensor([100]))
    assert connector.reads_time == (not torch.equal(first, second))
    assert connector.reads_time == (kind in ("tsc", "adaln-zero"))


def test_every_kind_is_tested():
    assert set(FORMULAS) == {kind.name for kind in KINDS}

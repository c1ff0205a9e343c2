"""Each kind of connector against its formulas in float64 (connector_formulas.py), and its attention against torch's."""

import numpy as np
import pytest
import torch
from connector_formulas import FORMULAS, pool

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


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("kind", FORMULAS)
def test_tokens_are_those_of_the_formulas(kind, length):
    connector = random_connector(kind)
    weights = {name: weight.numpy() for name, weight in connector.state_dict().items()}
    text = text_states(length)
    for timestep in (999, 421, 0):
        tokens = connector(text, torch.tensor([timestep]))
        expected = FORMULAS[kind](weights, connector.config, text[0].numpy(), np.float64(timestep))
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

"""New connectors of every kind: the paper's sizes, its initialisation, and sentences for what can't be made."""

import pytest
import torch

from ella_core import ELLAError, new_connector
from ella_core.connectors.kinds import KINDS, kind_of_tensors

# Table 6 of the paper rounds these to 2.16M, 8.71M, 44.16M, 73.91M and 66.82M.
PARAMETERS = [
    ("mlp", {}, 2_164_224),
    ("resampler", {"depth": 1}, 8_712_192),
    ("resampler", {}, 44_159_232),
    ("adaln-zero", {}, 73_907_712),
    ("tsc", {}, 66_820_608),
    # SDXL: 0.47B in table 4; its pool, which the paper does not count, has the last number more.
    ("tsc", {"width": 2048, "time_dim": 2048}, 466_546_688),
    ("tsc", {"width": 2048, "time_dim": 2048, "pooled_dim": 1280}, 466_546_688 + 15_344_896),
]


@pytest.mark.parametrize("kind, sizes, expected", PARAMETERS)
def test_parameters(kind, sizes, expected):
    connector = new_connector(kind, device="meta", **sizes)
    assert sum(weight.numel() for weight in connector.parameters()) == expected


def test_the_released_keys():
    weights = new_connector("tsc", device="meta").state_dict()
    assert len(weights) == 93
    assert weights["connector.perceiver_blocks.5.attn.in_proj_weight"].shape == (2304, 768)


def test_adaln_zero_begins_with_its_timed_queries():
    connector = new_connector("adaln-zero", width=32, depth=2, num_heads=4, num_queries=5, text_dim=16)
    timesteps = torch.tensor([999, 500, 0])
    queries, _ = connector.read_time(timesteps, torch.float32)
    assert torch.equal(connector(torch.randn(3, 7, 16), timesteps), queries)
    assert not torch.equal(queries[0], queries[1])


def test_adaln_begins_at_zero():
    """A new TSC shifts and scales nothing, so that it begins as a resampler with unweighted LayerNorms."""
    connector = new_connector("tsc", width=32, depth=2, num_heads=4, num_queries=5, text_dim=16)
    for name, weight in connector.named_parameters():
        is_adaln = ".ln_" in name
        assert is_adaln == (not weight.any()) or name.endswith(("in_proj_bias", "out_proj.bias")), name


def test_queries_begin_small():
    latents = new_connector("resampler", depth=1, num_queries=512).connector.latents
    assert abs(latents.std().item() * 768**0.5 - 1) < 0.01  # of 393,216 numbers, so 0.1 % are one standard error


@pytest.mark.parametrize("kind", [kind.name for kind in KINDS])
def test_a_new_connector_can_be_trained(kind):
    sizes = {} if kind == "mlp" else {"depth": 1, "num_heads": 4, "num_queries": 5}
    connector = new_connector(kind, width=32, text_dim=16, **sizes)
    assert connector.training and all(weight.requires_grad for weight in connector.parameters())
    connector(torch.randn(2, 7, 16), torch.tensor([10, 900])).square().sum().backward()
    assert any(weight.grad is not None and weight.grad.any() for weight in connector.parameters())


@pytest.mark.parametrize("kind", [kind.name for kind in KINDS])
def test_tensors_tell_the_kind(kind):
    assert kind_of_tensors(new_connector(kind, device="meta").state_dict()).name == kind


WRONG = [
    ("adapter", {}, "adapter is no kind of connector; choose one of mlp, resampler, adaln-zero, tsc"),
    ("mlp", {"num_queries": 64}, "has no size num_queries; its sizes are width, text_dim"),
    ("resampler", {"time_dim": 64}, "has no size time_dim"),
    ("tsc", {"num_heads": 7}, "7 attention heads do not divide the width 768"),
    ("tsc", {"depth": 0}, "depth of a connector is 0"),
    ("tsc", {"width": 96, "pooled_dim": 8}, "which do not divide the width 96"),
    ("tsc", {"time_channels": 321}, "an even number of channels"),
]


@pytest.mark.parametrize("kind, sizes, expected", WRONG)
def test_what_can_not_be_made(kind, sizes, expected):
    with pytest.raises(ELLAError, match=expected) as error:
        new_connector(kind, **sizes)
    assert "\n" not in str(error.value) and str(error.value).endswith(".")

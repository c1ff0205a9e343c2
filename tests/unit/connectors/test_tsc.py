"""The connector against tokens that the paper's own code computed in float64 (tests/data/tsc_small.safetensors)."""

import pytest
import torch
from safetensors.torch import load_file, save_file

from ella_core import ConnectorConfig, TimestepAwareSemanticConnector, load_connector

# float32 rounding through two blocks; the golden tokens are float64 stored as float32.
TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def golden(data):
    return load_file(data / "tsc_small.safetensors")


@pytest.fixture(scope="module")
def connector(golden, tmp_path_factory):
    path = tmp_path_factory.mktemp("ella") / "small.safetensors"
    weights = {key.removeprefix("weights."): value for key, value in golden.items() if key.startswith("weights.")}
    save_file(weights, path, metadata={"heads": "8"})
    return load_connector(path)


def relative(found, expected):
    return float((found - expected).abs().max() / expected.abs().max())


@pytest.mark.parametrize("length", [1, 7, 77, 128])
@pytest.mark.parametrize("timestep", [0, 1, 250, 500, 981, 999])
def test_tokens_are_those_of_the_paper(golden, connector, length, timestep):
    tokens = connector(golden[f"text.{length}"][None], torch.tensor([timestep]))
    assert relative(tokens[0], golden[f"tokens.{length}.{timestep}"]) < TOLERANCE


@pytest.mark.parametrize("length", [1, 7, 77, 128, 300])
def test_mixed_timesteps_equal_single_calls(connector, length):
    text = torch.randn(5, length, 48, generator=torch.Generator().manual_seed(length))
    timesteps = torch.tensor([999, 0, 500, 999, 1])
    batch = connector(text, timesteps)
    single = torch.cat([connector(text[i : i + 1], timesteps[i : i + 1]) for i in range(5)])
    assert relative(batch, single) < TOLERANCE


def test_one_prompt_at_many_timesteps_equals_single_calls(golden, connector):
    timesteps = torch.tensor([999, 981, 500, 250, 1, 0])
    tokens = connector(golden["text.77"][None], timesteps)
    expected = torch.stack([golden[f"tokens.77.{step}"] for step in timesteps.tolist()])
    assert relative(tokens, expected) < TOLERANCE


def test_many_prompts_at_one_timestep_equal_single_calls(connector):
    text = torch.randn(3, 7, 48, generator=torch.Generator().manual_seed(0))
    single = torch.cat([connector(text[i : i + 1], torch.tensor([321])) for i in range(3)])
    assert relative(connector(text, torch.tensor([321])), single) < TOLERANCE


def test_default_is_the_released_network():
    with torch.device("meta"):
        connector = TimestepAwareSemanticConnector()
    weights = connector.state_dict()
    assert len(weights) == 93
    assert sum(weight.numel() for weight in weights.values()) == 66_820_608
    assert weights["connector.latents"].shape == (64, 768)
    assert weights["connector.proj_in.weight"].shape == (768, 2048)
    assert weights["connector.perceiver_blocks.5.attn.in_proj_weight"].shape == (2304, 768)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_weights_stay_as_stored_and_frozen(tmp_path, dtype):
    config = ConnectorConfig(width=32, depth=1, num_heads=4, num_queries=3, text_dim=16, time_channels=8, time_dim=24)
    stored = {key: value.to(dtype) for key, value in TimestepAwareSemanticConnector(config).state_dict().items()}
    save_file(stored, tmp_path / "c.safetensors", metadata={"num_heads": "4"})
    connector = load_connector(tmp_path / "c.safetensors")
    assert connector.config == config
    assert not connector.training
    for key, weight in connector.state_dict().items():
        assert weight.dtype == dtype and torch.equal(weight, stored[key])
    assert not any(parameter.requires_grad for parameter in connector.parameters())
    tokens = connector(torch.randn(2, 5, 16).half(), torch.tensor([10, 20]))
    assert tokens.shape == (2, 3, 32) and tokens.dtype == dtype and tokens.isfinite().all()


def test_heads_default_to_eight_without_metadata(tmp_path):
    config = ConnectorConfig(width=32, depth=1, num_queries=3, text_dim=16, time_channels=8, time_dim=24)
    save_file(TimestepAwareSemanticConnector(config).state_dict(), tmp_path / "c.safetensors")
    assert load_connector(tmp_path / "c.safetensors").config == config

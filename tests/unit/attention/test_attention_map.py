"""The attention map against torch.nn.MultiheadAttention, which computes weights of its own in float64."""

import csv
import io

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from ella_core import ConnectorConfig, TimestepAwareSemanticConnector
from ella_core.attention.attention_map import attention_map, attention_to_keys, map_timesteps
from ella_core.prompts.prompt_words import Piece

# Both sides compute in float64; only the order of sums differs.
TOLERANCE = 1e-12
HEADS, BLOCKS, QUERIES = 4, 3, 5


@pytest.fixture(scope="module")
def connector():
    torch.manual_seed(0)
    config = ConnectorConfig(
        width=32, depth=BLOCKS, num_heads=HEADS, num_queries=QUERIES, text_dim=24, time_channels=16, time_dim=32
    )
    connector = TimestepAwareSemanticConnector(config).double()
    with torch.no_grad():
        for name, weight in connector.named_parameters():
            if name.endswith("in_proj_weight"):
                weight.mul_(3)  # weights that are far from equal
            elif name.endswith("bias"):
                weight.normal_(std=0.1)
    return connector


@pytest.fixture(scope="module")
def states():
    return torch.randn(1, 7, 24, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


class TorchAttention(nn.Module):
    """torch's own attention in place of a ConnectorAttention; keeps the weights of each head."""

    def __init__(self, ours):
        super().__init__()
        width = ours.out_proj.weight.shape[0]
        self.theirs = nn.MultiheadAttention(width, ours.num_heads, batch_first=True, dtype=torch.float64)
        self.theirs.load_state_dict(ours.state_dict())

    def forward(self, queries, keys):
        out, self.weights = self.theirs(queries, keys, keys, average_attn_weights=False)
        return out


def torch_weights(connector, states, timestep):
    """Weights (blocks, heads, Q, Q + T) of the same network with torch's attention in every block."""
    other = TimestepAwareSemanticConnector(connector.config).double()
    other.load_state_dict(connector.state_dict())
    for block in other.connector.perceiver_blocks:
        block.attn = TorchAttention(block.attn)
    with torch.no_grad():
        other(states, torch.tensor([timestep]))
    return torch.cat([block.attn.weights for block in other.connector.perceiver_blocks])


@pytest.mark.parametrize("timestep", [999, 500, 0])
@pytest.mark.parametrize("blocks, heads", [([0, 1, 2], [0, 1, 2, 3]), ([1], [2]), ([0, 2], [0, 3])])
def test_weights_are_those_of_torch(connector, states, timestep, blocks, heads):
    found = attention_to_keys(connector, states, timestep, blocks, heads)
    expected = torch_weights(connector, states, timestep)[blocks][:, heads].mean(dim=(0, 1, 2))
    assert found.shape == (QUERIES + 7,)
    assert (found - expected).abs().max() < TOLERANCE


def test_blocks_heads_and_timesteps_differ(connector, states):
    """The comparison above can fail: another choice gives other weights."""
    found = attention_to_keys(connector, states, 500, [0], [0])
    for choice in [(500, [1], [0]), (500, [0], [1]), (0, [0], [0])]:
        assert (found - attention_to_keys(connector, states, *choice)).abs().max() > 1e-3


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_other_dtypes(connector, states, dtype):
    other = TimestepAwareSemanticConnector(connector.config).to(dtype)
    other.load_state_dict(connector.state_dict())
    found = attention_to_keys(other, states.to(dtype), 500, [0, 1, 2], [0, 1, 2, 3])
    expected = attention_to_keys(connector, states, 500, [0, 1, 2], [0, 1, 2, 3])
    # Three digits of float16 in the scores; the weights themselves are always computed in float32 or better.
    assert found.dtype == torch.float32 and (found - expected).abs().max() < (2e-2 if dtype == torch.float16 else 1e-6)


def hooks_of(connector):
    return sum(len(module._forward_pre_hooks) for module in connector.modules())


def test_the_connector_stays_as_it_was(connector, states):
    before = connector(states, torch.tensor([500]))
    attention_to_keys(connector, states, 500, [0, 1, 2], [0])
    with pytest.raises(RuntimeError):
        attention_to_keys(connector, states[..., :3], 500, [0, 1, 2], [0])
    with pytest.raises(IndexError):
        attention_to_keys(connector, states, 500, [0, 1, 2], [HEADS])
    assert hooks_of(connector) == 0
    assert torch.equal(connector(states, torch.tensor([500])), before)


def test_timesteps_go_from_noise_to_picture():
    assert map_timesteps(2) == [999, 0]
    assert map_timesteps(4) == [999, 666, 333, 0]
    assert len(set(map_timesteps(100))) == 100


@pytest.fixture
def pieces():
    texts = ["\u2581a", "\u2581red", "\u2581tea", "pot", ",", "\u2581red", '"', "</s>", "<pad>", "<pad>"]
    return [
        Piece({"</s>": 1, "<pad>": 0}.get(text, 9), text, is_end=text == "</s>", is_padding=text == "<pad>")
        for text in texts
    ]


@pytest.fixture
def found(pieces):
    keys = torch.rand(3, 4 + len(pieces), dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    return attention_map(pieces, [999, 500, 0], keys / keys.sum(dim=1, keepdim=True)), keys


def test_pieces_are_summed_to_words(found):
    found, keys = found
    keys = keys / keys.sum(dim=1, keepdim=True)
    assert [word.text for word in found.names] == ["a", "red", "teapot,", 'red"']
    expected = torch.stack([keys[:, 4], keys[:, 5], keys[:, 6:9].sum(1), keys[:, 9:11].sum(1)], dim=1)
    assert torch.allclose(found.words, expected)
    assert torch.allclose(found.rest, torch.stack([keys[:, 11], keys[:, 12:].sum(1), keys[:, :4].sum(1)], dim=1))


def test_each_word_is_divided_by_its_own_maximum(found):
    relative = found[0].relative()
    assert torch.equal(relative.amax(dim=0), torch.ones(4, dtype=torch.float64))
    assert torch.allclose(relative * found[0].words.amax(dim=0), found[0].words)


def test_csv(found):
    found = found[0]
    header, *rows = csv.reader(io.StringIO(found.csv()))
    assert header == ["timestep", "a", "red", "teapot,", 'red"', "[added tokens]", "[padding]", "[queries]"]
    assert [row[0] for row in rows] == ["999", "500", "0"]
    numbers = torch.tensor([[float(value) for value in row[1:]] for row in rows], dtype=torch.float64)
    assert torch.allclose(numbers[:, :4], found.words, rtol=1e-5)  # six digits are written
    assert torch.allclose(numbers.sum(dim=1), torch.ones(3, dtype=torch.float64), atol=1e-5)


def test_the_paper_s_connector(data):
    """Its own weights (tests/data) at each length of text, against torch's attention in its blocks."""
    golden = load_file(data / "tsc_small.safetensors")
    weights = {key.removeprefix("weights."): value for key, value in golden.items() if key.startswith("weights.")}
    width, text_dim = weights["connector.proj_in.weight"].shape
    config = ConnectorConfig(
        width=width,
        depth=len({key.split(".")[2] for key in weights if "perceiver_blocks" in key}),
        num_queries=len(weights["connector.latents"]),
        text_dim=text_dim,
        time_channels=weights["time_embedding.linear_1.weight"].shape[1],
        time_dim=weights["time_embedding.linear_1.weight"].shape[0],
    )
    connector = TimestepAwareSemanticConnector(config).double()
    connector.load_state_dict(weights)
    for length in (1, 7, 128):
        states = golden[f"text.{length}"][None].double()
        found = attention_to_keys(connector, states, 500, list(range(config.depth)), [0, 7])
        assert found.shape == (config.num_queries + length,)
        expected = torch_weights(connector, states, 500)[:, [0, 7]].mean(dim=(0, 1, 2))
        assert (found - expected).abs().max() < TOLERANCE

"""The text states bit for bit, in whatever transformers is installed, against T5's encoder written out in plain torch.

scripts/transformers_versions.sh runs this file in several versions of transformers.
"""

import json
import math

import pytest
import torch
from safetensors.torch import load_file
from t5_tokenizer import write_tokenizer

from ella_core import load_text_encoder

BUCKETS, MAX_DISTANCE = 32, 128


def norm(x, weight):
    """T5's layer norm: no mean, no bias, the variance in float32, the product in float16."""
    variance = x.to(torch.float32).pow(2).mean(-1, keepdim=True)
    return weight * (x * torch.rsqrt(variance + 1e-6)).to(torch.float16)


def bucket(distance):
    """Bucket of a key that stands `distance` tokens after its query (section 2.1 of T5's paper)."""
    half = BUCKETS // 2
    exact = half // 2
    size = distance.abs()
    far = torch.log(size.float() / exact) / torch.log(torch.tensor(MAX_DISTANCE / exact)) * (half - exact)
    far = (exact + far.clamp(0, half - exact - 1).long()).clamp(max=half - 1)
    return torch.where(size < exact, size, far) + half * (distance > 0)


def clamp(x):
    """transformers' guard against float16's overflow."""
    limit = torch.finfo(torch.float16).max
    return x.clamp(-(limit - 1000), limit - 1000) if torch.isinf(x).any() else x


def gelu(x):
    """gelu_new, the approximation by tanh, each step rounded to float16."""
    return 0.5 * x * (1.0 + torch.tanh(math.sqrt(2.0 / math.pi) * (x + 0.044715 * torch.pow(x, 3.0))))


def plain_states(weights, config, ids):
    """Token ids (T,) -> text states (T, d_model) of the encoder; padding (id 0) is not attended to."""
    heads, size = config["num_heads"], config["d_kv"]
    x = weights["shared.weight"][ids]  # (T, d_model)
    places = torch.arange(len(ids))
    table = weights["encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight"]
    bias = table[bucket(places[None, :] - places[:, None])].permute(2, 0, 1)  # (heads, T, T)
    bias = bias + torch.where(ids == 0, torch.finfo(torch.float16).min, 0.0).half()
    for block in range(config["num_layers"]):
        name = f"encoder.block.{block}.layer.{{}}".format
        y = norm(x, weights[name("0.layer_norm.weight")])
        q, k, v = (
            (y @ weights[name(f"0.SelfAttention.{one}.weight")].T).view(-1, heads, size).transpose(0, 1)
            for one in "qkv"
        )
        scores = q @ k.transpose(1, 2) + bias  # (heads, T, T)
        mixed = torch.softmax(scores.float(), dim=-1).half() @ v  # (heads, T, size)
        x = clamp(x + mixed.transpose(0, 1).flatten(1) @ weights[name("0.SelfAttention.o.weight")].T)
        y = norm(x, weights[name("1.layer_norm.weight")])
        gate = gelu(y @ weights[name("1.DenseReluDense.wi_0.weight")].T)
        hidden = gate * (y @ weights[name("1.DenseReluDense.wi_1.weight")].T)
        x = clamp(x + hidden @ weights[name("1.DenseReluDense.wo.weight")].T)
    return norm(x, weights["encoder.final_layer_norm.weight"])


@pytest.fixture(scope="module")
def encoder(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("t5") / "t5"
    folder.mkdir()
    for name in ("config.json", "model.safetensors"):
        (folder / name).write_bytes((data / "t5_overflow" / name).read_bytes())
    write_tokenizer(folder / "tokenizer.json")
    return load_text_encoder(folder)


CASES = [f"{name}.{kind}" for name in ("prompt", "empty", "unicode") for kind in ("flexible", "fixed128")]


@pytest.mark.parametrize("case", CASES)
def test_states_bit_for_bit(encoder, data, case):
    ids = load_file(data / "t5_overflow/expected.safetensors")["ids." + case]
    config = json.loads((data / "t5_overflow/config.json").read_text())
    expected = plain_states(load_file(data / "t5_overflow/model.safetensors"), config, ids)
    (found,) = encoder.read(ids.tolist())
    assert found.dtype == torch.float16
    assert torch.equal(found, expected), float((found.double() - expected.double()).abs().max())

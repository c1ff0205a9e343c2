"""Float8 and GGUF files read back, against their formats' own definitions."""

import gguf
import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_language_models import make_language_model

from ella_core import load_text_encoder
from ella_core.language_models.quantised_file import gguf_weights

TEXT = "a red fox beside a blue teapot"
KEY = "layers.1.mlp.up_proj.weight"


def similarity(found, expected):
    return torch.nn.functional.cosine_similarity(found.flatten().double(), expected.flatten().double(), dim=0).item()


@pytest.fixture
def llama(tmp_path):
    return make_language_model(tmp_path / "llama", "llama")


@pytest.mark.parametrize("scaled", [False, True], ids=["plain", "scaled"])
def test_float8_is_multiplied_with_its_factor(llama, scaled):
    full = load_text_encoder(llama)
    weights = load_file(llama / "model.safetensors")
    expected = {}
    for key in [key for key in weights if key.endswith("proj.weight")]:
        factor = weights[key].abs().max() / 448 if scaled else torch.ones(())
        small = (weights[key] / factor).to(torch.float8_e4m3fn)
        weights[key], expected[key] = small, small.float() * factor
        if scaled:
            weights[key.removesuffix(".weight") + ".scale_weight"] = factor
    weights["scaled_fp8"] = torch.zeros(2, dtype=torch.float8_e4m3fn)
    save_file(weights, llama / "model.safetensors", {"format": "pt"})
    encoder = load_text_encoder(llama)
    assert torch.equal(encoder.model.state_dict()[KEY], expected[KEY])
    assert 0.98 < similarity(encoder.encode(TEXT), full.encode(TEXT)) < 1 - 1e-6


@pytest.mark.parametrize("kind", ["F16", "Q8_0", "Q4_1"])
def test_gguf_gives_each_weight_its_name_and_order(llama, tmp_path, kind):
    """Written with llama.cpp's own names and order of the rows of queries and keys, quantised by the package gguf."""
    full = load_text_encoder(llama).model.state_dict()
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, 3)
    writer = gguf.GGUFWriter(tmp_path / "llama.gguf", "llama")
    writer.add_head_count(4)
    writer.add_head_count_kv(2)
    for key, weight in full.items():
        heads = {"q_proj": 4, "k_proj": 2}.get(key.split(".")[-2])
        if heads:  # as convert_hf_to_gguf permutes them
            weight = weight.reshape(heads, 2, -1, weight.shape[1]).transpose(1, 2).reshape(weight.shape)
        name = names.get_name("model." + key.removesuffix(".weight")) + ".weight"
        stored = gguf.GGMLQuantizationType[kind if weight.ndim == 2 else "F32"]
        writer.add_tensor(name, gguf.quantize(weight.numpy(), stored), raw_dtype=stored)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    found = gguf_weights(tmp_path / "llama.gguf", list(full), "llama", 3, torch.float32)
    # What the format keeps of a weight: half a step of its grid of each block's range, or float16's rounding.
    step = {"F16": 2**-11, "Q8_0": 1 / 127, "Q4_1": 1 / 15}[kind]
    for key, weight in full.items():
        assert (found[key] - weight).abs().max() <= step * 2 * weight.abs().max(), key

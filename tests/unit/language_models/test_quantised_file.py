"""Float8 and GGUF files read back, against their formats' own definitions."""

import json
import shutil

import gguf
import pytest
import torch
from safetensors.torch import load_file, save_file
from t5_tokenizer import write_tokenizer
from tiny_language_models import make_language_model

from ella_core import ELLAError, load_text_encoder
from ella_core.language_models.quantised_file import gguf_weights, rounding

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


@pytest.fixture
def golden_folder(data, tmp_path):
    folder = tmp_path / "t5"
    shutil.copytree(data / "t5_overflow", folder, ignore=shutil.ignore_patterns("expected.safetensors"))
    write_tokenizer(folder / "tokenizer.json")
    return folder


def write_t5(folder, path, kind):
    """The T5 of a folder as a GGUF file, with llama.cpp's names and keys; what can't be quantised stays float32."""
    weights = load_file(folder / "model.safetensors")
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.T5ENCODER, 8)
    config = json.loads((folder / "config.json").read_text())
    writer = gguf.GGUFWriter(path, "t5encoder")
    writer.add_embedding_length(config["d_model"])
    writer.add_feed_forward_length(config["d_ff"])
    writer.add_block_count(config["num_layers"])
    writer.add_head_count(config["num_heads"])
    writer.add_key_length(config["d_kv"])
    writer.add_layer_norm_rms_eps(config["layer_norm_epsilon"])
    writer.add_relative_attn_buckets_count(config["relative_attention_num_buckets"])
    for key, weight in weights.items():
        if key.startswith(("shared.", "encoder.")) and "embed_tokens" not in key:
            fits = weight.ndim == 2 and weight.shape[1] % 32 == 0
            stored = gguf.GGMLQuantizationType[kind if fits else "F32"]
            name = names.get_name(key.removesuffix(".weight")) + ".weight"
            writer.add_tensor(name, gguf.quantize(weight.float().numpy(), stored), raw_dtype=stored)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@pytest.mark.parametrize("kind, least", [("F16", 1 - 1e-6), ("Q8_0", 0.99), ("Q4_1", 0.5)])
def test_a_t5_as_gguf_reads_as_the_float16_one(golden_folder, tmp_path, kind, least):
    write_t5(golden_folder, tmp_path / "t5.gguf", kind)
    tokenizer = str(golden_folder / "tokenizer.json")
    full = load_text_encoder(golden_folder)
    encoder = load_text_encoder(tmp_path / "t5.gguf", tokenizer=tokenizer)
    assert (encoder.architecture, encoder.dtype, encoder.text_dim) == ("t5", torch.float16, full.text_dim)
    found, expected = encoder.encode(TEXT), full.encode(TEXT)
    assert similarity(found, expected) > least
    assert torch.equal(found, expected) is (kind == "F16")


@pytest.mark.parametrize("content", [b"", b"GGUF", b"GGUF\x03\x00\x00\x00" + b"\xff" * 64, b"<html>"])
def test_a_damaged_gguf_is_one_sentence(tmp_path, content):
    (tmp_path / "t5.gguf").write_bytes(content)
    with pytest.raises(ELLAError) as refusal:
        load_text_encoder(tmp_path / "t5.gguf")
    assert "\n" not in str(refusal.value) and len(str(refusal.value)) <= 400


def test_what_is_said_of_rounded_weights():
    assert rounding(["F16", "F32", "I64"]) == ""
    assert rounding(["F32", "Q4_1", "Q8_0"]) == "Q4_1, Q8_0 (cosine 0.915 to the full model's on random weights)"
    assert rounding(["F32", "Q3_K"]) == "Q3_K (how near was not measured)"

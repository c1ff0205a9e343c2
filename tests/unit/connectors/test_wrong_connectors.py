"""Each wrong connector gets one sentence: what was found, what was expected, what to do."""

import json
import os

import pytest
import torch
from safetensors.torch import save_file
from wrong_files import LFS_POINTER, WEB_PAGE, assert_one_sentence, checkpoint, clip, lora, unknown, vae

from ella_core import ConnectorConfig, ELLAError, TimestepAwareSemanticConnector, load_connector
from ella_core.safetensors_file import read_header

SMALL = ConnectorConfig(width=32, depth=2, num_heads=4, num_queries=3, text_dim=16, time_channels=8, time_dim=24)


def weights():
    generator = torch.Generator().manual_seed(0)
    state = TimestepAwareSemanticConnector(SMALL).state_dict()
    return {key: torch.randn(value.shape, generator=generator) for key, value in state.items()}


def truncated(path):
    save_file(weights(), path, metadata={"num_heads": "4"})
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def changed(change):
    def write(path):
        state = weights()
        change(state)
        save_file(state, path, metadata={"num_heads": "4"})

    return write


def heads(value):
    return lambda path: save_file(weights(), path, metadata={"num_heads": value})


def long_header(path):
    save_file(weights(), path, metadata={"num_heads": "4", "padding": "x" * 17 * 2**20})


def blocks(count, name):
    """Adds an empty tensor of this name in so many blocks."""
    return changed(lambda s: s.update({BLOCK.format(i) + name: torch.zeros(0) for i in range(count)}))


BLOCK = "connector.perceiver_blocks.{}."
NAN = torch.full((3, 32), float("nan"))
MISSING = "connector.perceiver_blocks.1.mlp.c_fc.bias"
CONNECTORS = {
    "missing": (lambda path: None, "does not exist"),
    "empty": (lambda path: path.write_bytes(b""), r"is empty \(0 bytes\)"),
    "truncated": (truncated, "cut off"),
    "noise": (lambda path: path.write_bytes(bytes(range(256)) * 8), "can't be read as safetensors"),
    "web page": (lambda path: path.write_bytes(WEB_PAGE), "is a web page"),
    "Git LFS pointer": (lambda path: path.write_bytes(LFS_POINTER), "is a Git LFS pointer"),
    "pickle": (lambda path: torch.save({"a": torch.zeros(1)}, path), "is a pickle file"),
    "LoRA": (lora, "is a LoRA, where an ELLA connector is expected"),
    "VAE": (vae, "is a VAE, where an ELLA connector is expected"),
    "checkpoint": (checkpoint, "is a full checkpoint"),
    "text encoder": (clip, "is a CLIP text encoder"),
    "unknown": (unknown, "is not an ELLA connector"),
    "missing tensor": (changed(lambda s: s.pop(MISSING)), f"lacks 1 of the 37 tensors .*{MISSING}"),
    "missing latents": (changed(lambda s: s.pop("connector.latents")), "has no tensor connector.latents"),
    "extra tensor": (changed(lambda s: s.update(extra=torch.zeros(1))), r"has 1 tensors too many \(first: extra\)"),
    "misshapen tensor": (
        changed(lambda s: s.update({MISSING: torch.zeros(7)})),
        rf"has {MISSING} of shape \(7,\) where \(128,\) is expected",
    ),
    "flat latents": (
        changed(lambda s: s.update({"connector.latents": torch.zeros(96)})),
        "two dimensions are expected",
    ),
    "NaN": (changed(lambda s: s.update({"connector.latents": NAN})), "not finite in connector.latents"),
    "integer weights": (changed(lambda s: s.update({MISSING: torch.zeros(128, dtype=torch.int8)})), "as I8"),
    "heads that do not divide": (heads("5"), "5 attention heads"),
    "heads no number": (heads("many"), "many attention heads"),
    "heads of 5,000 digits": (heads("9" * 5000), r"states 9+\.\.\.9+ attention heads"),
    "heads of other digits": (heads("\u0664"), "do not divide its width 32"),
    "heads that lead a path": (heads("/home/anna/4\n.\n"), r"states \"\.\.\./4 \. \" attention heads"),
    "no heads": (heads("0"), "states 0 attention heads"),
    "block of a number too large": (
        changed(lambda s: s.update({BLOCK.format(10**10) + "x": torch.zeros(0)})),
        r"has 1 tensors too many \(first: connector\..*00\.x\)",
    ),
    "block written otherwise": (
        changed(lambda s: s.update({BLOCK.format("01") + "x": torch.zeros(0)})),
        r"has 1 tensors too many \(first: connector.perceiver_blocks.01.x\)",
    ),
    "no block 0": (
        changed(lambda s: [s.pop(key) for key in list(s) if key.startswith(BLOCK.format(0))]),
        r"lacks 14 of the 23 tensors .* and has 14 tensors too many",
    ),
    "20,000 blocks": (blocks(20000, "x"), "has 20000 blocks, where at most 256 are expected"),
    "200 blocks of one tensor": (blocks(200, "x"), r"lacks 2772 of the 2809 tensors .* and has 200 tensors too many"),
    "misshapen tensor of many dimensions": (
        changed(lambda s: s.update({MISSING: torch.zeros([1] * 50)})),
        r"of shape \(1, .* 1\) where \(128,\) is expected",
    ),
    "no latents": (changed(lambda s: s.update({"connector.latents": torch.zeros(0, 32)})), "sizes from 1 to 65536"),
    "latents of 2**62": (
        changed(lambda s: s.update({"connector.latents": torch.zeros(0, 2**62)})),
        "4611686018427387904. where sizes from 1 to 65536 are expected",
    ),
    "no dimension": (
        changed(lambda s: s.update({"connector.proj_in.weight": torch.zeros(())})),
        r"of shape \(\) where two dimensions are expected",
    ),
    "odd time_channels": (
        changed(lambda s: s.update({"time_embedding.linear_1.weight": torch.zeros(24, 9)})),
        "a sinusoid of 9 channels",
    ),
    "long header": (long_header, "its header would be 17,"),
    "folder": (lambda path: path.mkdir(), "does not exist as a file"),
    "unreadable": (lambda path: path.symlink_to("/proc/self/mem"), r"can't be read \("),
    "pipe": (lambda path: os.mkfifo(path), "does not exist as a file"),
}


@pytest.mark.parametrize("case", CONNECTORS)
def test_wrong_connector(case, tmp_path):
    write, expected = CONNECTORS[case]
    path = tmp_path / "wrong.safetensors"
    write(path)
    with pytest.raises(ELLAError, match=expected) as error:
        load_connector(path)
    assert_one_sentence(error.value, "wrong.safetensors")


@pytest.mark.parametrize("length", [640, 15392])
def test_a_sound_file_is_no_pickle_and_no_web_page(tmp_path, length):
    """The first bytes of a safetensors file are its header's length, which may look like anything."""
    path = tmp_path / "c.safetensors"
    header = {"connector.latents": {"dtype": "F32", "shape": [3, 32], "data_offsets": [0, 384]}}
    content = json.dumps(header).encode().ljust(length)
    path.write_bytes(length.to_bytes(8, "little") + content + bytes(384))
    assert read_header(path).shapes == {"connector.latents": (3, 32)}

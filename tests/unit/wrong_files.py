"""Files that are something else, and the check of a sentence, for the tests of wrong connectors and text encoders."""

import torch
from safetensors.torch import save_file

LFS_POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 133651968\n"
WEB_PAGE = b"\n<!DOCTYPE html><html><body>Sign in to download</body></html>"


def lora(path):
    save_file({"lora_unet_down_blocks_0.lora_down.weight": torch.zeros(4, 4)}, path)


def vae(path):
    save_file({"decoder.mid.block_1.conv1.weight": torch.zeros(4, 4, 3, 3)}, path)


def checkpoint(path):
    save_file({"model.diffusion_model.input_blocks.0.0.weight": torch.zeros(4, 4, 3, 3)}, path)


def clip(path):
    save_file({"text_model.encoder.layers.0.self_attn.q_proj.weight": torch.zeros(4, 4)}, path)


def unknown(path):
    save_file({"something.weight": torch.zeros(4, 4)}, path)


def assert_one_sentence(error, name=""):
    message = str(error)
    assert "\n" not in message and message.endswith(".") and len(message) <= 400
    assert name in message

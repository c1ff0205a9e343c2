"""The host's flags for memory and precision: the same picture as without them, and no device mismatch."""

import pytest
import torch
from comfyui_server import saved_files
from safetensors.torch import load_file

FLAGS = ["--fp8_e4m3fn-text-enc", "--bf16-text-enc", "--disable-dynamic-vram"]
MEMORY_FLAGS = ["--enable-dynamic-vram", "--lowvram", "--novram", "--gpu-only", "--cpu"]
# On one device nothing may change: the flags move weights and set the dtypes of other text encoders. Another device, or
# weights that are cast piece by piece, take other kernels, whose float16 results differ in their last digits.
SAME, OTHER_KERNELS = 1e-6, 2e-2


def latent(server, workflow):
    """The latent of ELLA text to image.json on a server."""
    prompt = server.api_prompt(workflow("ELLA text to image.json"))
    (sampler,) = [node_id for node_id, node in prompt.items() if node["class_type"] == "KSampler"]
    inputs = {"samples": [sampler, 0], "filename_prefix": "latent"}
    prompt["latent"] = {"class_type": "SaveLatent", "inputs": inputs}
    (saved,) = saved_files(server.run(prompt), "latents")
    return load_file(server.path_of(saved))["latent_tensor"].float()


@pytest.fixture(scope="module")
def expected(server, workflow):
    return latent(server, workflow)


@pytest.mark.slow
@pytest.mark.parametrize("flag", FLAGS + MEMORY_FLAGS)
def test_the_picture_is_the_same(server_with, workflow, expected, flag):
    gpu = torch.cuda.is_available()
    if flag in MEMORY_FLAGS and not gpu:
        pytest.skip(f"NO GPU: {flag} moves weights between a GPU and memory, and there is no GPU here.")
    flags = [flag] if gpu else ["--cpu", flag]
    with server_with(*flags) as server:
        found = latent(server, workflow)
    difference = float((found - expected).norm() / expected.norm())
    assert difference <= (OTHER_KERNELS if gpu else SAME)

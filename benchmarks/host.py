"""A ComfyUI in this process, as far as sampling needs it, and random models of the real sizes."""

import sys
from pathlib import Path

import torch

REPO = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPO / "scripts"))
from in_process_host import import_host  # noqa: E402

# Stable Diffusion 1.5's own UNet, 860 million parameters.
SD15 = {
    "num_res_blocks": [2, 2, 2, 2],
    "channel_mult": [1, 2, 4, 4],
    "transformer_depth": [1, 1, 1, 1, 1, 1, 0, 0],
    "transformer_depth_output": [1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0],
}


def start(comfyui, device):
    """Puts ComfyUI and the pack's core (as `ella_core`) into this process; `device` is "cpu" or "cuda"."""
    import_host(comfyui, cpu=device == "cpu")


def unet(dtype, **config):
    """MODEL of random weights; SD1.5's size unless `config` says otherwise."""
    import comfy.sd
    import random_models

    weights = random_models.unet_weights(dtype=dtype, **(SD15 | config))
    return comfy.sd.load_diffusion_model_state_dict(weights)


def small_unet(dtype):
    import random_models

    return unet(dtype, **{key: random_models.UNET[key] for key in SD15})


def connector(folder):
    """The connector's ModelPatcher, full size, float16 as released."""
    import random_models

    import ella_core.connectors.tsc
    from ella_core.host.connector_model import load_connector_model

    path = Path(folder) / "connector.safetensors"
    if not path.exists():
        random_models.make_connector(str(path), ella_core.connectors.tsc)
    return load_connector_model(str(path))


def text_states(length, seed=0):
    """CONDITIONING of random text states (1, length, 2048) float16."""
    from ella_core.host.conditioning import text_states_mark

    generator = torch.Generator().manual_seed(seed)
    return [[torch.randn(1, length, 2048, generator=generator).half() * 0.2, text_states_mark()]]


def clip_states(seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [[torch.randn(1, 77, 768, generator=generator), {"pooled_output": torch.zeros(1, 768)}]]


def sample(model, positive, negative, size, batch=1, steps=20, cfg=7.0, scheduler="normal", sampler="euler"):
    """Latent of a run as KSampler makes it, without its progress bar."""
    import comfy.sample

    image = torch.zeros(batch, 4, size // 8, size // 8)
    noise = comfy.sample.prepare_noise(image, 1)
    return comfy.sample.sample(
        model, noise, steps, cfg, sampler, scheduler, positive, negative, image, disable_pbar=True, seed=1
    )

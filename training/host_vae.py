"""The VAE of a checkpoint by the host's own loader: pictures become latents as the host makes and reads them."""

from __future__ import annotations

import hashlib
import os

import torch
from safetensors import safe_open

from ella_core.errors import file_name
from ella_core.safetensors_file import read_header

from .errors import TrainingError
from .host_base import host_module

PREFIX = "first_stage_model."  # of the VAE's tensors in a checkpoint


class HostVAE:
    """The VAE of the checkpoint at `path`, loaded as the host's Load Checkpoint does.

    `facts` say which VAE it is and how its latents are scaled. Raises TrainingError as `vae_facts` does.
    """

    def __init__(self, path):
        self.latent_format = latent_format_of(path)
        self.facts = vae_facts(path, self.latent_format)
        sd = host_module("comfy.sd")
        *_, vae = sd.load_checkpoint_guess_config(os.fspath(path), output_clip=False, output_model=False)[:3]
        vae.throw_exception_if_invalid()
        self.vae = vae

    def encode(self, pixels):
        """(h, w, 3) in 0..1 -> latents (1, 4, h/8, w/8) float32 in the UNet's own space, on the CPU.

        They are the mean that the VAE gives, one picture at a time, so that they don't depend on their neighbours.
        """
        with torch.no_grad():
            latents = self.latent_format.process_in(self.vae.encode(pixels[None]))  # (1, 4, h/8, w/8)
        return latents.float().cpu()


def vae_facts(path, latent_format=None):
    """{"sha256": of the VAE's tensors, "latents": the host's name of their format, "scale": its factor}.

    Raises TrainingError for a file that is no checkpoint with a UNet that the host knows and a VAE of four channels.
    """
    header = read_header(path)
    names = sorted(name for name in header.shapes if name.startswith(PREFIX))
    format_ = latent_format or latent_format_of(path)
    if not names or format_.latent_channels != 4:
        raise TrainingError(
            f"{file_name(path)} has no VAE of four latent channels, where a checkpoint of Stable Diffusion 1.5 or SDXL "
            "is expected; give the whole checkpoint, not its UNet alone."
        )
    digest = hashlib.sha256()
    with safe_open(os.fspath(path), "pt") as file:
        for name in names:
            tensor = file.get_tensor(name).contiguous()
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)} ".encode())
            digest.update(tensor.reshape(-1).view(torch.uint8).numpy())
    return {"sha256": digest.hexdigest(), "latents": type(format_).__name__, "scale": float(format_.scale_factor)}


def latent_format_of(path):
    """The host's LatentFormat for a checkpoint's UNet. Raises TrainingError where it has none that the host knows."""
    detection = host_module("comfy.model_detection")
    tensors, metadata = host_module("comfy.utils").load_torch_file(os.fspath(path), return_metadata=True)
    prefix = detection.unet_prefix_from_state_dict(tensors)
    config = detection.model_config_from_unet(tensors, prefix, metadata=metadata)
    if config is None:
        raise TrainingError(
            f"{file_name(path)} holds no UNet that ComfyUI knows, where a checkpoint of Stable Diffusion 1.5 or SDXL "
            "is expected; give another --checkpoint."
        )
    return config.latent_format

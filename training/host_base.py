"""The frozen diffusion model of a checkpoint, by the host's own loader: what is trained on is what samples.

The host is the ComfyUI that COMFYUI names. Files named host_*.py are the only ones of this room that know it.
"""

from __future__ import annotations

import hashlib
import importlib
import os
import sys
from pathlib import Path

import torch
from torch.utils.checkpoint import checkpoint as checkpointed

from ella_core.errors import file_name
from ella_core.safetensors_file import read_header

from .errors import TrainingError

DTYPES = {"no": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
NAMES = {"SD15": "sd15", "SDXL": "sdxl", "SSD1B": "sdxl", "Segmind_Vega": "sdxl"}
SIZES = 6  # numbers that SDXL is told of a picture's size
MIDDLE = 2**20  # bytes of a checkpoint's middle that tell one from another
EXPECTED = "where a checkpoint of Stable Diffusion 1.5 or SDXL is expected; give another --checkpoint."


class HostBase:
    """The UNet of the checkpoint at `path`, frozen; a Base, see base.py.

    `mixed_precision` says what it computes in, "no" for float32. `pooled_dim` is the width of the pooled vector that
    SDXL wants, 0 for none. `patcher` is the host's ModelPatcher, `vae` the host's VAE or None.
    Raises TrainingError for a file that is no such checkpoint.
    """

    def __init__(self, path, mixed_precision="no", gradient_checkpointing=False, device=None, with_vae=False):
        read_header(path)  # says what is wrong with a file that is none
        self.patcher, self.vae = load(path, DTYPES[mixed_precision], with_vae)
        self.model = self.patcher.model
        self.module = self.model.diffusion_model.requires_grad_(False).eval()
        self.prediction = prediction_of(self.model, path)
        sizes = self.model.model_config.unet_config
        self.context_width = sizes.get("context_dim")
        if sizes.get("in_channels") != 4 or not isinstance(self.context_width, int):
            raise TrainingError(
                f"{file_name(path)} holds {kind_of_model(self.model)}, whose UNet has other inputs, {EXPECTED}"
            )
        self.pooled_dim = pooled_dim_of(self.model, path)
        self.name = NAMES.get(kind_of_model(self.model), kind_of_model(self.model).lower())
        self.alphas_cumprod = 1 / (1 + self.model.model_sampling.sigmas.double().cpu() ** 2)
        if gradient_checkpointing:
            recompute_activations(self.module)
        self.to(device or self.patcher.load_device)

    def to(self, device):
        self.model.to(device)
        return self

    def predict(self, noisy_latents, timesteps, context, pooled=None, sizes=None):
        """See Base. What the host's `apply_model` asks of the UNet, before it makes a picture of it."""
        dtype = self.model.get_dtype_inference()
        more = {"y": self.vector(noisy_latents, pooled, sizes).to(dtype)} if self.pooled_dim else {}
        options = {"prefetch_dynamic_vbars": False}
        found = self.module(
            noisy_latents.to(dtype), timesteps.float(), context=context.to(dtype), transformer_options=options, **more
        )
        return found.float()  # (B, 4, h, w)

    def vector(self, latents, pooled, sizes):
        """What SDXL's UNet gets beside time and tokens: the pooled vector and the six sizes, (B, 2816).

        Without `pooled` it is zeros, without `sizes` those of a picture that was not cropped.
        """
        count, _, height, width = latents.shape
        if pooled is None:
            pooled = latents.new_zeros(count, self.pooled_dim)
        if sizes is None:
            sizes = latents.new_tensor([height, width, 0, 0, height, width]).mul(8).expand(count, -1)
        embedded = self.model.embedder(sizes.float().flatten()).reshape(count, -1)  # (B, 6 * 256)
        return torch.cat([pooled.to(embedded), embedded], dim=1)


def load(path, dtype, with_vae):
    """(ModelPatcher, VAE or None) of a checkpoint, by the host's Load Checkpoint."""
    sd = host_module("comfy.sd")
    try:
        patcher, _, vae, *_ = sd.load_checkpoint_guess_config(
            os.fspath(path), output_vae=with_vae, output_clip=False, model_options={"dtype": dtype}
        )
    except torch.OutOfMemoryError:
        raise TrainingError(
            f"The memory of the device is too small for the UNet of {file_name(path)}; use --mixed-precision bf16, or "
            "a device with more memory."
        ) from None
    except (RuntimeError, AttributeError, KeyError):
        patcher = None
    if patcher is None:
        raise TrainingError(f"{file_name(path)} holds no diffusion model that ComfyUI knows, {EXPECTED}")
    return patcher, vae if with_vae else None


def kind_of_model(model):
    return type(model.model_config).__name__


def prediction_of(model, path):
    """ "eps" or "v", as the host read it from the checkpoint."""
    words = {"EPS": "eps", "V_PREDICTION": "v"}
    if model.model_type.name not in words:
        raise TrainingError(
            f"{file_name(path)} holds {kind_of_model(model)}, which predicts neither noise nor velocity, {EXPECTED}"
        )
    return words[model.model_type.name]


def pooled_dim_of(model, path):
    """Width of the pooled vector in what the UNet gets beside time and tokens, 0 for a UNet that gets nothing."""
    if not model.adm_channels:
        return 0
    embedder = getattr(model, "embedder", None)
    embedded = 0 if embedder is None else SIZES * embedder(torch.zeros(1)).shape[-1]
    if type(model).__name__ != "SDXL" or model.adm_channels <= embedded:
        raise TrainingError(f"{file_name(path)} holds {kind_of_model(model)}, which is told other things, {EXPECTED}")
    return model.adm_channels - embedded


def recompute_activations(unet):
    """Lets the blocks of a UNet compute their activations again for the gradient instead of keeping them."""
    blocks = {"ResBlock", "SpatialTransformer"}
    for module in unet.modules():
        if type(module).__name__ in blocks:
            module.forward = recomputing(module.forward)


def recomputing(forward):
    def forward_again(*inputs, **options):
        return checkpointed(forward, *inputs, use_reentrant=False, **options)

    return forward_again


def fingerprint(path):
    """A hash of a checkpoint's header and of a part of its weights, which tells fine-tunes apart."""
    with open(path, "rb") as file:
        header = file.read(8)
        digest = hashlib.sha256(header + file.read(int.from_bytes(header, "little")))
        file.seek(max(0, os.path.getsize(path) // 2 - MIDDLE // 2))
        digest.update(file.read(MIDDLE))
    return digest.hexdigest()


def host_module(name):
    """A module of the ComfyUI that COMFYUI names. Raises TrainingError where it names none."""
    folder = Path(os.environ.get("COMFYUI", ""))
    if not (folder / "comfy").is_dir():
        raise TrainingError(
            "Training loads models with ComfyUI's own code and COMFYUI names no ComfyUI; set COMFYUI to the folder "
            "that `bash scripts/host.sh` prints."
        )
    if "comfy.model_management" not in sys.modules:
        sys.path.insert(0, str(folder))  # before the repository's root: both have a `nodes`
        args = importlib.import_module("comfy.cli_args").args
        args.cpu = not torch.cuda.is_available()
        args.use_pytorch_cross_attention = True  # the one whose gradient is quick, on a CPU as well
    return importlib.import_module(name)

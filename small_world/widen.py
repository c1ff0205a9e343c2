"""Makes narrow weights wide without changing what they compute (Net2WiderNet, arXiv 1511.05641).

Every channel stands several times in a row; what reads it divides by as many. Queries are divided by the root once
more, since larger heads have a smaller scale. So what was trained with 64 channels is a checkpoint that the host's
own loader takes for Stable Diffusion 1.5.
"""

import math
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file

from ella_core import new_connector
from ella_core.connectors.connector import Connector
from ella_core.connectors.kinds import kind_of_network

from .autoencoder import TinyAutoencoder
from .base_model import Base
from .narrow_unet import CONTEXT_FACTOR, unet_of_channels
from .text_encoder import VOCABULARY, known_ids

LATENT_SCALE = 0.18215  # of Stable Diffusion 1.5
CLIP_LAYERS = 12
AUTOENCODER_WIDTH = 64
_NOT_READ = ("latents", "embedding.weight")  # tables, whose second dimension is no input
_QUERIES = ("to_q.weight", "q_proj.weight", "q_proj.bias")


def widened(name: str, narrow: torch.Tensor, shape: torch.Size) -> torch.Tensor:
    """A narrow weight in a wider shape; each dimension a whole multiple of the narrow one."""
    wide = narrow
    for dim in range(min(2, narrow.ndim)):
        factor = shape[dim] // narrow.shape[dim]
        wide = wide.repeat_interleave(factor, dim)
        if dim == 1 and not name.endswith(_NOT_READ):
            wide = wide / factor
    factor = shape[0] // narrow.shape[0]
    if name.endswith(_QUERIES):
        wide = wide / math.sqrt(factor)
    elif "in_proj_" in name:
        wide = wide.clone()
        wide[: len(wide) // 3] /= math.sqrt(factor)
    return wide


def widened_all(narrow: Mapping[str, torch.Tensor], shapes: Mapping[str, torch.Size]) -> dict[str, torch.Tensor]:
    """Every weight in the shape of the same name."""
    return {name: widened(name, value.float(), shapes[name]).contiguous() for name, value in narrow.items()}


def widened_connector(narrow: Connector, width: int) -> Connector:
    """A connector with tokens of `width`, which are those of the narrow one, each channel several times in a row."""
    factor = width // narrow.config.width
    sizes = vars(narrow.config) | {"width": width}
    if "time_dim" in sizes:
        sizes["time_dim"] *= factor
    wide = new_connector(kind_of_network(narrow).name, **sizes)
    shapes = {name: value.shape for name, value in wide.state_dict().items()}
    wide.load_state_dict(widened_all(narrow.state_dict(), shapes))
    return wide


def checkpoint(base: Base, autoencoder: TinyAutoencoder) -> dict[str, torch.Tensor]:
    """The weights of a Stable Diffusion 1.5 checkpoint that draws what the narrow base draws."""
    with torch.device("meta"):
        shapes = {name: value.shape for name, value in unet_of_channels(320, 768).state_dict().items()}
        wide_vae = {name: value.shape for name, value in TinyAutoencoder(AUTOENCODER_WIDTH).state_dict().items()}
    unet = widened_all(base.unet.state_dict(), shapes)
    vae = widened_all(autoencoder.state_dict(), wide_vae)
    vae |= {"vae_scale": torch.tensor(LATENT_SCALE), "vae_shift": torch.tensor(0.0)}
    return (
        {f"model.diffusion_model.{name}": value for name, value in unet.items()}
        | {f"first_stage_model.{name}": value for name, value in vae.items()}
        | {f"cond_stage_model.transformer.text_model.{name}": value for name, value in _clip(base).items()}
    )


def save_checkpoint(path: Path, base: Base, autoencoder: TinyAutoencoder, dtype: torch.dtype = torch.float32) -> None:
    """Writes `checkpoint` whole or not at all."""
    part = path.with_name(path.name + ".part")
    save_file({name: value.to(dtype) for name, value in checkpoint(base, autoencoder).items()}, part)
    part.replace(path)


def _clip(base: Base) -> dict[str, torch.Tensor]:
    """CLIP-L of twelve layers, ten of which add nothing; words outside the world are rows of zeros."""
    wide = {}
    for name, value in base.text_encoder.model.state_dict().items():
        name = name.removeprefix("text_model.")
        factors = [CONTEXT_FACTOR] * value.ndim
        if name.endswith("embedding.weight"):
            factors[0] = 1
        shape = torch.Size(size * factor for size, factor in zip(value.shape, factors))
        wide[name] = widened(name, value.float(), shape).contiguous()
    words = wide["embeddings.token_embedding.weight"]
    table = torch.zeros(VOCABULARY, words.shape[1])
    table[list(known_ids())] = words[:-1]
    wide["embeddings.token_embedding.weight"] = table
    first = {name: value for name, value in wide.items() if name.startswith("encoder.layers.0.")}
    trained = 1 + max(int(name.split(".")[2]) for name in wide if name.startswith("encoder.layers."))
    for layer in range(trained, CLIP_LAYERS):
        for name, value in first.items():
            is_norm = "layer_norm" in name and name.endswith("weight")
            wide[name.replace("layers.0.", f"layers.{layer}.")] = (
                torch.ones_like(value) if is_norm else torch.zeros_like(value)
            )
    return wide

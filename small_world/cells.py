"""The trainings of the study: a connector of each kind on the narrow frozen base, by `training`'s own loop."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from ella_core import load_connector, new_connector
from training.base import stable_diffusion_alphas_cumprod
from training.loop import train
from training.options import Options
from training.run_folder import CONNECTOR_EMA

from .base_model import Base
from .narrow_unet import CONTEXT
from .scene_data import LENGTH, SceneData

BATCH = 32


@dataclass(frozen=True)
class Cell:
    """One training of the study: a connector of a kind and depth (None where it has none), its steps and seed."""

    kind: str
    depth: int | None
    steps: int
    seed: int
    language_model: str = "minilm"

    @property
    def name(self) -> str:
        """A folder's name."""
        depth = "" if self.depth is None else f"-{self.depth}"
        return f"{self.kind}{depth}-{self.language_model}-{self.steps}-{self.seed}"


PAPER_KINDS = (("mlp", None), ("resampler", 1), ("resampler", 6), ("adaln-zero", 6), ("tsc", 6))


def cells(steps: int, seeds: Sequence[int], decoder: bool = False) -> list[Cell]:
    """The cells of a study, the most telling ones first.

    The paper's table 6 seed by seed, so that an unfinished study has whole rows; then, of the seed 0, the TSC with
    other depths and with fewer and more steps; with `decoder` the paper's table 5, an encoder's states against a
    decoder's, and of table 6 both ends with the decoder's.
    """
    table_6 = [Cell(kind, depth, steps, seed) for seed in seeds for kind, depth in PAPER_KINDS]
    scale = [Cell("tsc", depth, steps, 0) for depth in (1, 3)]
    scale += [Cell("tsc", 6, other, 0) for other in (steps // 2, steps // 4, steps * 4)]
    ends = (PAPER_KINDS[-1], PAPER_KINDS[0])
    table_5 = [Cell(kind, depth, steps, seed, "smollm") for seed in seeds for kind, depth in ends]
    return table_6 + (scale if 0 in seeds else []) + (table_5 if decoder else [])


class NarrowBase:
    """The frozen base as the training takes it."""

    prediction = "eps"
    name = "small-world"
    context_width = CONTEXT

    def __init__(self, base: Base):
        self.module = base.unet.eval().requires_grad_(False)
        self.alphas_cumprod = stable_diffusion_alphas_cumprod()

    def predict(self, noisy_latents, timesteps, context, pooled=None, sizes=None):
        """The noise in (B, 4, 8, 8) latents."""
        return self.module(noisy_latents, timesteps, context)


def new_cell_connector(cell: Cell, text_dim: int) -> nn.Module:
    """A new narrow connector of the cell's kind, by its seed."""
    torch.manual_seed(cell.seed)
    sizes = {"width": CONTEXT, "text_dim": text_dim}
    if cell.depth is not None:
        sizes["depth"] = cell.depth
    if cell.kind in ("tsc", "adaln-zero"):
        sizes["time_dim"] = CONTEXT
    return new_connector(cell.kind, **sizes)


def options_of(cell: Cell, batch_size: int) -> Options:
    """The paper's recipe at the small world's size: a higher rate and a short warm-up, since steps are few, and weights
    of the loss that favour high noise (min-SNR with a small gamma), where it is decided what lies where."""
    return Options(
        steps=cell.steps,
        batch_size=batch_size,
        micro_batch_size=0,
        learning_rate=2e-3,
        schedule="cosine",
        warmup_steps=min(100, cell.steps // 4),
        ema_decay=0.99,
        min_snr=0.1,
        max_length=LENGTH,
        resolution=64,
        seed=cell.seed,
        save_every=250,
        validate_every=0,
        tensorboard=False,
    )


def train_cell(cell: Cell, base: Base, data: SceneData, out: Path, batch_size: int = BATCH) -> nn.Module:
    """The trained connector (its moving average), gone on with where it was stopped."""
    connector = new_cell_connector(cell, data.text_states.shape[-1])
    run = train(options_of(cell, batch_size), NarrowBase(base), connector, data, out / cell.name, progress=False)
    return load_connector(run.path / CONNECTOR_EMA)

"""The paper's comparison of connectors in the small world: each cell is trained, sampled and judged, and is a line.

    python -m small_world study --out DIR

A cell that has its line in DIR/results.jsonl is not computed again, so that a study goes on where it was stopped.
"""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import nn

from ella_core import load_connector, load_text_encoder, new_connector
from evaluation.line_file import LineFile
from training.loop import train
from training.options import Options
from training.run_folder import CONNECTOR_EMA

from .autoencoder import TinyAutoencoder
from .base_model import Base, load_autoencoder, load_base
from .diffusion import alphas_cumprod
from .measure import as_line, asked, draw_prompts, summary
from .narrow_unet import CONTEXT
from .packaged_models import language_model
from .scene_data import LENGTH, SceneData, read_captions
from .text_encoder import rows_of


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


def cells(steps: int, seeds: int) -> list[Cell]:
    """The paper's table 6, seed by seed, so that an unfinished study has whole rows."""
    return [Cell(kind, depth, steps, seed) for seed in range(seeds) for kind, depth in PAPER_KINDS]


class NarrowBase:
    """The frozen base as the training takes it."""

    prediction = "eps"
    name = "small-world"
    context_width = CONTEXT

    def __init__(self, base: Base):
        self.module = base.unet.eval().requires_grad_(False)
        self.alphas_cumprod = alphas_cumprod().double()

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
    """The paper's recipe at the small world's size: a higher rate and a short warm-up, since steps are few."""
    return Options(
        steps=cell.steps,
        batch_size=batch_size,
        micro_batch_size=0,
        learning_rate=1e-3,
        schedule="cosine",
        warmup_steps=min(100, cell.steps // 4),
        ema_decay=0.99,
        min_snr=5.0,
        max_length=LENGTH,
        resolution=64,
        seed=cell.seed,
        save_every=250,
        validate_every=0,
        tensorboard=False,
    )


def train_cell(cell: Cell, base: Base, data: SceneData, out: Path, batch_size: int = 64) -> nn.Module:
    """The trained connector (its moving average), gone on with where it was stopped."""
    connector = new_cell_connector(cell, data.text_states.shape[-1])
    run = train(options_of(cell, batch_size), NarrowBase(base), connector, data, out / cell.name, progress=False)
    return load_connector(run.path / CONNECTOR_EMA)


def tokens_of(connector: nn.Module, encoder, timestep: Callable | None = None) -> Callable:
    """`tokens_at` of `draw_prompts` for a connector; `timestep` changes the timesteps that the connector is told."""

    def tokens_at(texts):
        read = {text: encoder.encode(text, LENGTH).float() for text in dict.fromkeys(texts)}
        states = torch.cat([read[text] for text in texts])
        return lambda timesteps: connector(states, timesteps if timestep is None else timestep(timesteps))

    return tokens_at


def own_tokens(base: Base) -> Callable:
    """`tokens_at` of `draw_prompts` for the base's own text encoder."""

    def tokens_at(texts):
        context = base.text_encoder(rows_of(list(texts)))
        return lambda timesteps: context

    return tokens_at


def measure_into(
    file: Path, name: dict, base: Base, autoencoder: TinyAutoencoder, tokens_at: Callable, count: int
) -> None:
    """Lines with what pictures get right on dense and on short captions, of known and of held-out pairs."""
    lines = LineFile(file)
    done = {
        json.dumps({key: line[key] for key in (*name, "captions", "held_out")})
        for line in lines.read()
        if set(name) <= set(line)
    }
    for dense in (True, False):
        for held_out in (False, True):
            line = name | {"captions": "dense" if dense else "short", "held_out": held_out}
            if json.dumps(line) in done:
                continue
            began = time.monotonic()
            prompts = asked(count if not held_out else count // 2, dense=dense, held_out=held_out)
            rights = [right for right, _ in draw_prompts(base.unet, autoencoder, tokens_at, prompts)]
            seconds = round(time.monotonic() - began, 1)
            lines.append(
                line | summary(rights) | {"seconds": seconds, "pictures": [as_line(right) for right in rights]}
            )


def study(base_folder: Path, out: Path, steps: int, seeds: int, scenes: int, prompts: int) -> None:
    """The paper's kinds, the base's own text encoder, and the TSC told one timestep or shuffled ones, as lines."""
    out.mkdir(parents=True, exist_ok=True)
    file = out / "results.jsonl"
    base, autoencoder = load_base(base_folder), load_autoencoder(base_folder)
    measure_into(file, {"cell": "own text encoder", "seed": 0}, base, autoencoder, own_tokens(base), prompts)
    path = language_model("minilm", out / "language_models")
    states, empty, facts = read_captions(path, scenes, out / "minilm", "sentence-transformers/all-MiniLM-L6-v2")
    encoder = load_text_encoder(path)
    encoder.read_weights()
    latents = load_file(base_folder / "latents.safetensors")["latents"][:scenes].float()
    for cell in cells(steps, seeds):
        data = SceneData(latents, states, empty, facts, cell.seed)
        connector = train_cell(cell, base, data, out).eval().requires_grad_(False)
        named = {"cell": cell.name, "seed": cell.seed, "kind": cell.kind, "depth": cell.depth, "steps": cell.steps}
        measure_into(file, named, base, autoencoder, tokens_of(connector, encoder), prompts)
        if cell.kind == "tsc":
            for told, timestep in TOLD.items():
                told_name = named | {"cell": f"{cell.name} told {told}"}
                measure_into(file, told_name, base, autoencoder, tokens_of(connector, encoder, timestep), prompts)


# What the TSC is told instead of the evaluation's own timestep.
TOLD = {
    "the timestep 500": lambda timesteps: torch.full_like(timesteps, 500),
    "another timestep": lambda timesteps: (timesteps * 7919 + 613) % 1000,
}

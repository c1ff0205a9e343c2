"""The paper's comparison of connectors in the small world: each cell is trained, sampled and judged, and is a line.

    python -m small_world study --base BASE --out STUDY

What has its line in STUDY/results.jsonl is not computed again, so that a study goes on where it was stopped.
"""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

import torch
from filelock import FileLock, Timeout
from torch import nn

from ella_core.errors import ELLAError
from evaluation.line_file import LineFile

from .autoencoder import TinyAutoencoder
from .base_model import Base, load_autoencoder, load_base
from .cells import cells, train_cell
from .device import chosen_device, device_of
from .measure import asked, asked_swapped, asked_typed, draw_prompts, summary
from .scene_data import LENGTH, read_scenes
from .text_encoder import rows_of

OWN = "own text encoder"
DEMO = "demo"  # the connector that assets/small_world holds
SWAPPED = "swapped"  # dense captions in pairs, with two colours swapped
TYPED = "typed"  # captions as a person types them
# Captions, and whether of held-out pairs.
DENSE_PROMPTS = (("dense", False), ("dense", True))
PROMPTS = (*DENSE_PROMPTS, ("short", False), ("short", True), (SWAPPED, False))
ALL_PROMPTS = (*PROMPTS, (TYPED, False))  # with those that the demo's connector alone was trained on
# What the TSC is told instead of the evaluation's own timestep.
TOLD = {
    "timestep 500": lambda timesteps: torch.full_like(timesteps, 500),
    "shuffled timesteps": lambda timesteps: (timesteps * 7919 + 613) % 1000,
}


def tokens_of(connector: nn.Module, encoder, timestep: Callable | None = None) -> Callable:
    """`tokens_at` of `draw_prompts` for a connector; `timestep` changes the timesteps that the connector is told."""

    def tokens_at(texts):
        read = {text: encoder.encode(text, LENGTH).float() for text in dict.fromkeys(texts)}
        states = torch.cat([read[text] for text in texts]).to(device_of(connector))
        return lambda timesteps: connector(states, timesteps if timestep is None else timestep(timesteps))

    return tokens_at


def own_tokens(base: Base) -> Callable:
    """`tokens_at` of `draw_prompts` for the base's own text encoder."""

    def tokens_at(texts):
        context = base.text_encoder(rows_of(list(texts)).to(device_of(base)))
        return lambda timesteps: context

    return tokens_at


def measure_into(
    file: Path,
    name: dict,
    base: Base,
    autoencoder: TinyAutoencoder,
    tokens_at: Callable,
    count: int,
    prompts_of: Sequence[tuple[str, bool]] = PROMPTS,
) -> None:
    """Lines with what pictures get right, for each of `prompts_of`."""
    lines = LineFile(file)
    done = {
        json.dumps({key: line[key] for key in (*name, "captions", "held_out")})
        for line in lines.read()
        if set(name) <= set(line)
    }
    for captions, held_out in prompts_of:
        line = name | {"captions": captions, "held_out": held_out}
        if json.dumps(line) in done:
            continue
        began = time.monotonic()
        if captions == SWAPPED:
            prompts = asked_swapped(count)
        elif captions == TYPED:
            prompts = asked_typed(count)
        else:
            prompts = asked(count // 2 if held_out else count, dense=captions == "dense", held_out=held_out)
        rights = [right for right, _ in draw_prompts(base.unet, autoencoder, tokens_at, prompts)]
        seconds = round(time.monotonic() - began, 1)
        lines.append(line | summary(rights) | {"seconds": seconds, "pictures": [asdict(right) for right in rights]})


def measure_told(
    file: Path, name: dict, base: Base, autoencoder: TinyAutoencoder, connector: nn.Module, encoder, count: int
) -> None:
    """Lines of a connector that is told other timesteps than the evaluation's, on dense captions."""
    for told, timestep in TOLD.items():
        tokens = tokens_of(connector, encoder, timestep)
        measure_into(file, name | {"told": told}, base, autoencoder, tokens, count, DENSE_PROMPTS)


def study(
    base_folder: Path,
    out: Path,
    steps: int,
    seeds: Sequence[int],
    scenes: int,
    prompts: int,
    decoder: bool = False,
    device: str | None = None,
) -> None:
    """Every cell, the base's own text encoder, and the TSC told another timestep than the evaluation's, as lines.

    Raises:
        ELLAError: another process is at the same study, or there is no such device.
    """
    out.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(out / ".lock", timeout=0):
            _study(base_folder, out, steps, seeds, scenes, prompts, decoder, chosen_device(device))
    except Timeout:
        raise ELLAError(
            f"Another process is at the study {out}; give this one other --seeds and another --out, and both to "
            "python -m small_world figures."
        ) from None


def _study(base_folder, out, steps, seeds, scenes, prompts, decoder, device) -> None:
    file = out / "results.jsonl"
    base, autoencoder = load_base(base_folder).to(device), load_autoencoder(base_folder).to(device)
    measure_into(file, {"cell": OWN, "seed": 0}, base, autoencoder, own_tokens(base), prompts, ALL_PROMPTS)
    for cell in cells(steps, seeds, decoder):
        encoder, data = read_scenes(autoencoder, cell.language_model, out, scenes, cell.seed)
        connector = train_cell(cell, base, data, out).to(device).eval().requires_grad_(False)
        named = {"cell": cell.name, "seed": cell.seed, "kind": cell.kind, "depth": cell.depth, "steps": cell.steps}
        named |= {"language_model": cell.language_model, "told": None}
        measure_into(file, named, base, autoencoder, tokens_of(connector, encoder), prompts)
        if (cell.kind, cell.depth, cell.steps, cell.language_model) == ("tsc", 6, steps, "minilm"):
            measure_told(file, named, base, autoencoder, connector, encoder, prompts)

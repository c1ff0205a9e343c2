"""Scenes with dense captions as what a training takes: latents, and a language model's states read once."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from random import Random

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from tqdm import tqdm

from ella_core import load_text_encoder
from ella_core.connectors.facts import TextEncoderFacts
from ella_core.errors import ELLAError
from training.batch import Batch

from .autoencoder import TinyAutoencoder
from .base_model import FIRST_SCENE, latents_of
from .captions import dense_caption, typed_caption
from .device import device_of
from .packaged_models import NAMES, language_model
from .scenes import MOST_SHAPES, Scene, arranged_scene, random_scene

PART = 2048  # captions in a file
# (pictures seen, most shapes of a scene until then), then all. What a word of place means is learned from single shapes
# all at once, after about 15,000 of them.
CURRICULUM = ((16_000, 1), (20_000, 2), (24_000, 3))
DENSE = 10_240  # scenes with dense captions; those after them are arranged and have typed ones
LENGTH = 128  # token ids of a caption, padded and cut, as the paper trains


class SceneData:
    """The data source of a training on the first `len(text_states)` scenes, by a curriculum and, within each part of
    it, in an order of its own for each seed."""

    def __init__(
        self,
        latents: torch.Tensor,
        text_states: torch.Tensor,
        empty_states: torch.Tensor,
        facts: dict,
        seed: int,
        curriculum: Sequence[tuple[int, int]] = CURRICULUM,
    ):
        self.latents, self.text_states = latents, text_states
        self.empty_states, self.facts = empty_states, facts
        self.seed, self.curriculum, self.given = seed, curriculum, 0
        shapes = [len(scene_of(i).shapes) for i in range(len(text_states))]
        parts = {most for _, most in curriculum} | {MOST_SHAPES}
        self._allowed = {most: {i for i, count in enumerate(shapes) if count <= most} for most in parts}
        self._epoch, self._order = None, []

    def batches(self, batch_size: int, rank: int, world_size: int) -> Iterator[Batch]:
        """Endless batches; an epoch's order depends on the seed, the part of the curriculum and the epoch alone."""
        while True:
            first = (self.given * world_size + rank) * batch_size
            which = torch.tensor([self._scene(first + i) for i in range(batch_size)])
            self.given += 1
            yield Batch(self.latents[which], self.text_states[which].float())

    def _scene(self, position: int) -> int:
        began, most = 0, MOST_SHAPES
        for until, at_most in self.curriculum:
            if position < until:
                most = at_most
                break
            began = until
        allowed = self._allowed[most]
        epoch, index = divmod(position - began, len(allowed))
        if (most, epoch) != self._epoch:
            generator = torch.Generator().manual_seed((self.seed * 10 + most) * 10_007 + epoch)
            order = torch.randperm(len(self.text_states), generator=generator).tolist()
            self._epoch, self._order = (most, epoch), [i for i in order if i in allowed]
        return self._order[index]

    def state_dict(self) -> dict:
        """How many batches of each rank were given out."""
        return {"given": self.given}

    def load_state_dict(self, state: dict) -> None:
        """Goes on after so many."""
        self.given = state["given"]


def scene_of(number: int) -> Scene:
    """A scene of the connectors' training by its number from 0: the base's own, then arranged ones."""
    scene = random_scene if number < DENSE else arranged_scene
    return scene(Random(FIRST_SCENE + number))


def caption_of(number: int) -> str:
    """Its caption, dense or typed."""
    caption = dense_caption if number < DENSE else typed_caption
    return caption(scene_of(number), Random(number)).text


def read_scenes(
    autoencoder: TinyAutoencoder,
    name: str,
    folder: Path,
    count: int,
    seed: int,
    curriculum: Sequence[tuple[int, int]] = CURRICULUM,
) -> tuple:
    """A language model of `PACKAGES`, where the autoencoder is, and the first scenes as it read them; the model and
    what it read are kept in `folder`."""
    encoder, read = _read_with(name, folder, count, device_of(autoencoder))
    return encoder, SceneData(_latents(autoencoder, count), *read, seed, curriculum)


@lru_cache(maxsize=1)
def _latents(autoencoder: TinyAutoencoder, count: int) -> torch.Tensor:
    return latents_of(autoencoder, [scene_of(number) for number in range(count)])


@lru_cache(maxsize=2)
def _read_with(name: str, folder: Path, count: int, device: torch.device) -> tuple:
    encoder = load_text_encoder(language_model(name, folder / "language_models")).to(device)
    encoder.read_weights()
    return encoder, read_captions(encoder, count, folder / name, NAMES[name])


def read_captions(encoder, count: int, file: Path, name: str) -> tuple[torch.Tensor, torch.Tensor, dict]:
    """(count, 128, text_dim) float16 states of the training's captions, (1, 128, text_dim) of the empty prompt, facts.

    Kept in `file` with the encoder's facts, part by part, so that an interrupted reading goes on.
    """
    facts = asdict(
        TextEncoderFacts(encoder.architecture, encoder.text_dim, "float32", max_length=LENGTH, padding=True, name=name)
    )
    parts = []
    for first in tqdm(range(0, count, PART), desc=f"captions read, {PART} at a time"):
        part = file.with_name(f"{file.name}.{first:06d}.safetensors")
        texts = [caption_of(i) for i in range(first, first + PART)]
        told = {"facts": json.dumps(facts), "captions": hashlib.sha256("\n".join(texts).encode()).hexdigest()}
        if not part.exists():
            save_file({"states": torch.cat([encoder.encode(text, LENGTH).half().cpu() for text in texts])}, part, told)
        with safe_open(part, "pt") as opened:
            read = opened.metadata()
        if read != told:
            name_of_reader = json.loads(read["facts"])["name"]
            raise ELLAError(
                f"{part} holds what {name_of_reader} read of other captions or in another way than {name} should; give "
                "another folder, or delete it and let it be read again."
            )
        parts.append(load_file(part)["states"])
    return torch.cat(parts)[:count], encoder.encode("", LENGTH).float(), facts

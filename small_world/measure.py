"""What pictures get right of scenes that nobody trained on: attributes bound, counts, places, relations."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from random import Random

import torch

from .autoencoder import TinyAutoencoder
from .base_model import picture
from .captions import Caption, dense_caption, short_caption, typed_caption
from .device import device_of
from .diffusion import sample
from .judge import FoundShape, shapes_in
from .scenes import HELD_OUT, MOST_SHAPES, Scene, arranged_scene, random_scene

GUIDANCE = 3.0
STEPS = 20


@dataclass(frozen=True)
class Asked:
    """A prompt of the measurement: a scene that the pictures may show, its caption, and the seed of the noise."""

    number: int
    scene: Scene
    caption: Caption


@dataclass(frozen=True)
class Right:
    """What one picture got right, as (right, asked) of each kind."""

    number: int
    shapes: int
    words: int
    bound: tuple[int, int]  # shapes with their colour and size, each found once
    counts: tuple[int, int]  # groups of which exactly as many are there as the caption says
    places: tuple[int, int]
    relations: tuple[int, int]
    extra: int  # shapes that the scene does not have


def asked(count: int, first: int = 0, dense: bool = True, held_out: bool = False) -> list[Asked]:
    """`count` prompts with 1 to 6 shapes in turn, by seed from `first` on, all below the training's scenes."""
    made = []
    for number in range(first, first + count):
        scene = random_scene(Random(number), shapes=1 + number % MOST_SHAPES, held_out=held_out)
        made.append(Asked(number, scene, (dense_caption if dense else short_caption)(scene, Random(number))))
    return made


def asked_typed(count: int) -> list[Asked]:
    """`count` prompts as a person types them, of arranged scenes, by seed."""
    made = []
    for number in range(count):
        scene = arranged_scene(Random(number))
        made.append(Asked(number, scene, typed_caption(scene, Random(number))))
    return made


def asked_swapped(count: int) -> list[Asked]:
    """Prompts in pairs, `count` in all: the dense caption of a scene of two shapes, and the same with their colours
    swapped, for the same noise."""
    made: list[Asked] = []
    number = 0
    while len(made) < count:
        scene = random_scene(Random(number), shapes=2)
        if len(scene.groups) == 2 and scene.groups[1].inside is None:
            a, b = scene.shapes
            if a.kind != b.kind and a.colour != b.colour and not {(a.kind, b.colour), (b.kind, a.colour)} & HELD_OUT:
                swapped = (replace(a, colour=b.colour), replace(b, colour=a.colour))
                groups = tuple(replace(group, shapes=(shape,)) for group, shape in zip(scene.groups, swapped))
                for drawn in (scene, Scene(groups)):
                    made.append(Asked(number, drawn, dense_caption(drawn, Random(number))))
        number += 1
    return made


def judged(one: Asked, found: Sequence[FoundShape]) -> Right:
    """Compares what a picture shows with what its caption says."""
    left = [(shape.kind, shape.colour, shape.size) for shape in found]
    bound = 0
    for shape in one.scene.shapes:
        looks = (shape.kind, shape.colour, shape.size)
        if looks in left:
            left.remove(looks)
            bound += 1
    claims = one.caption.claims

    def share(kinds: Callable) -> tuple[int, int]:
        chosen = [claim for claim in claims if kinds(claim.relation)]
        return sum(claim.holds(found) for claim in chosen), len(chosen)

    return Right(
        one.number,
        len(one.scene.shapes),
        len(one.caption.text.split()),
        (bound, len(one.scene.shapes)),
        share(lambda relation: relation is None),
        share(lambda relation: relation == "at"),
        share(lambda relation: relation not in (None, "at")),
        max(0, len(found) - len(one.scene.shapes)),
    )


@torch.inference_mode()
def draw_prompts(
    unet: Callable, autoencoder: TinyAutoencoder, tokens_at: Callable, prompts: Sequence[Asked], batch: int = 50
) -> list[tuple[Right, torch.Tensor]]:
    """Draws a picture of each prompt with noise of its own seed and judges it.

    `unet(latents, timesteps, context)` predicts noise; `tokens_at(texts)` gives a function of timesteps (B,) that
    gives context (B, N, width) for these texts. All is drawn where the autoencoder is. Returns (Right, picture
    (3, 64, 64)) in order.
    """
    results = []
    for first in range(0, len(prompts), batch):
        some = prompts[first : first + batch]
        pictures = _drawn(unet, autoencoder, tokens_at, some).cpu()
        results += [(judged(one, shapes_in(picture(p))), p) for one, p in zip(some, pictures)]
    return results


def _drawn(unet: Callable, autoencoder: TinyAutoencoder, tokens_at: Callable, prompts: Sequence[Asked]) -> torch.Tensor:
    """(B, 3, 64, 64) pictures of as many prompts."""
    asked_for, nothing = tokens_at([one.caption.text for one in prompts]), tokens_at([""] * len(prompts))
    noise = torch.stack([torch.randn(4, 8, 8, generator=torch.Generator().manual_seed(one.number)) for one in prompts])

    def predict(latents: torch.Tensor, timesteps: torch.Tensor) -> torch.Tensor:
        for_prompt = unet(latents, timesteps, asked_for(timesteps))
        for_nothing = unet(latents, timesteps, nothing(timesteps))
        return for_nothing + GUIDANCE * (for_prompt - for_nothing)

    return autoencoder.decode(sample(predict, noise.to(device_of(autoencoder)), STEPS))


def summary(rights: Sequence[Right]) -> dict:
    """Shares in percent over all prompts and over those with at least 4 shapes; None where nothing was asked."""

    def shares(some: Sequence[Right]) -> dict:
        table = {}
        for name in ("bound", "counts", "places", "relations"):
            right, of = (sum(getattr(one, name)[i] for one in some) for i in (0, 1))
            table[name] = round(100 * right / of, 2) if of else None
        return table | {"extra": round(sum(one.extra for one in some) / max(1, len(some)), 3)}

    return {"all": shares(rights), "four_or_more": shares([one for one in rights if one.shapes >= 4])}

"""Aspect buckets: the few sizes that pictures are brought to, so that a batch has one size and crops lose little."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image

from .errors import TrainingError

LATENT = 8  # pixels to a side of the VAE's latents


@dataclass(frozen=True)
class Fitted:
    """A picture in its bucket: pixels (height, width, 3) float32 in 0..1, and SDXL's six sizes of it.

    `sizes` are original height and width, top and left of the crop, target height and width.
    """

    pixels: torch.Tensor
    sizes: tuple[int, int, int, int, int, int]


def make_buckets(resolution=512, step=64, widest=2.0):
    """Sizes (width, height), multiples of `step` of at most resolution^2 pixels, sorted by width.

    For each width the largest height; from 1:widest to widest:1. `widest` 1 leaves the square alone, as the paper has
    it. Raises TrainingError for a resolution or step that the VAE can't take.
    """
    if step % LATENT or step < LATENT or resolution % step or resolution < step:
        raise TrainingError(
            f"A resolution of {resolution} in steps of {step} was asked for, where the step must be a multiple of "
            f"{LATENT} and the resolution one of the step; take 512 and 64."
        )
    if widest < 1:
        raise TrainingError(f"The widest aspect is {widest}, where at least 1 is expected; 1 crops to squares.")
    found = {(resolution, resolution)}
    for width in range(step, int(resolution * widest) + 1, step):
        height = resolution**2 // width // step * step
        if height and max(width, height) / min(width, height) <= widest:
            found |= {(width, height), (height, width)}
    return sorted(found)


def nearest_bucket(size, buckets):
    """The number of the bucket whose aspect is nearest to that of (width, height), by the ratio of the two."""
    aspect = math.log(size[0] / size[1])
    return min(range(len(buckets)), key=lambda one: abs(math.log(buckets[one][0] / buckets[one][1]) - aspect))


def fit(image, bucket):
    """An RGB image resized to cover the bucket (width, height) and cut to its centre, as Fitted."""
    width, height = bucket
    scale = max(width / image.width, height / image.height)
    covering = max(width, round(image.width * scale)), max(height, round(image.height * scale))
    left, top = (covering[0] - width) // 2, (covering[1] - height) // 2
    resized = image.resize(covering, Image.Resampling.BICUBIC).crop((left, top, left + width, top + height))
    pixels = torch.from_numpy(np.array(resized)).float() / 255  # (height, width, 3)
    return Fitted(pixels, (image.height, image.width, top, left, height, width))

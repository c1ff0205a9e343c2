"""Reads which shapes a picture shows, from its pixels alone.

Pixels near one of the world's colours form connected areas; an area is the kind whose outline, drawn into the area's
own bounding box, covers it best. Nothing here knows how a scene was made, and nothing is trained.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw
from scipy import ndimage

from .scenes import COLOURS, DIAMETERS, KINDS, PIXELS, SUPERSAMPLING, Shape, draw_shape

NEAR = 80.0  # distance in RGB (0..255) up to which a pixel has a colour; what antialiasing mixes lies further off
LEAST_AREA = 14  # pixels; the smallest shape of the world, a cross inside a shape, has 45
LEAST_OVERLAP = 0.62  # intersection over union with the best kind, below which an area is no shape
LARGE = (DIAMETERS["small"] + DIAMETERS["large"]) / 2


@dataclass(frozen=True)
class FoundShape(Shape):
    """A shape that a picture shows, and the overlap with its ideal outline."""

    overlap: float


def shapes_in(picture: Image.Image) -> list[FoundShape]:
    """Every shape of the world in a picture, brought to 64 x 64 pixels first, from the top to the bottom."""
    if picture.size != (PIXELS, PIXELS):
        picture = picture.resize((PIXELS, PIXELS), Image.Resampling.BOX)
    pixels = np.asarray(picture.convert("RGB"), np.float32)
    names = list(COLOURS)
    distances = np.stack([np.linalg.norm(pixels - np.array(COLOURS[name], np.float32), axis=-1) for name in names])
    nearest, distance = distances.argmin(0), distances.min(0)
    found = []
    for index, colour in enumerate(names):
        areas, _ = ndimage.label((nearest == index) & (distance < NEAR))
        for number, box in enumerate(ndimage.find_objects(areas), 1):
            area = areas[box] == number
            if area.sum() >= LEAST_AREA and (shape := _shape(area, box, colour)):
                found.append(shape)
    return sorted(found, key=lambda shape: (shape.y, shape.x))


def _shape(area: np.ndarray, box: tuple[slice, slice], colour: str) -> FoundShape | None:
    """The shape that an area (its own bounding box, bool) is, None where it is none."""
    filled = ndimage.binary_fill_holes(area)
    height, width = area.shape
    if max(height, width) > 1.6 * min(height, width):
        return None
    overlaps = {}
    for kind in KINDS:
        ideal = _ideal(kind, height, width)
        overlaps[kind] = float((filled & ideal).sum() / (filled | ideal).sum())
    kind = max(overlaps, key=overlaps.get)
    if overlaps[kind] < LEAST_OVERLAP:
        return None
    # Antialiased edges keep about half a pixel on each side out of the area.
    diameter = (height + width) / 2 + 0.5
    x, y = box[1].start + width / 2, box[0].start + height / 2
    return FoundShape(kind, colour, "large" if diameter > LARGE else "small", x, y, diameter, overlaps[kind])


@lru_cache(maxsize=4096)
def _ideal(kind: str, height: int, width: int) -> np.ndarray:
    """The outline of a kind stretched into a box, as bool."""
    side = max(height, width)
    big = Image.new("L", (side * SUPERSAMPLING,) * 2)
    draw_shape(ImageDraw.Draw(big), kind, side / 2, side / 2, side, 255, SUPERSAMPLING)
    return np.asarray(big.resize((width, height), Image.Resampling.BOX)) > 127

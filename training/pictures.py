"""Pictures with captions, wherever they lie: a folder, a JSONL file or WebDataset tars."""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from PIL import Image, ImageOps

from ella_core.errors import quoted

from .errors import TrainingError

EXTENSIONS = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")
TURNED = (5, 6, 7, 8)  # values of EXIF's orientation that swap width and height
ORIENTATION = 0x0112
NO_SIZE = (0, 0)  # before its header was read
NAMED = 3  # how many of the skipped pictures a sentence names


@dataclass(frozen=True)
class Picture:
    """A picture that was not read yet: the file at `path`, or `length` bytes of it from `offset` on.

    `name` is what messages call it, `captions` are one or more texts, `size` is (width, height) as it is seen.
    """

    name: str
    captions: tuple[str, ...]
    path: Path
    offset: int = 0
    length: int = -1
    size: tuple[int, int] = NO_SIZE

    def read(self):
        """The picture in RGB and upright, on white where it is transparent. Raises TrainingError for a corrupt one."""
        try:
            with open(self.path, "rb") as file:
                file.seek(self.offset)
                content = io.BytesIO(file.read(self.length))
            with Image.open(content) as image:
                image = ImageOps.exif_transpose(image)
                if image.has_transparency_data:
                    image = image.convert("RGBA")
                    white = Image.new("RGBA", image.size, "white")
                    image = Image.alpha_composite(white, image)
                return image.convert("RGB")
        except Exception as error:  # PIL raises whatever a broken file leads it to
            raise TrainingError(
                f"{quoted(self.name)} is corrupt ({quoted(str(error), 100)}); replace or remove it."
            ) from error


@dataclass(frozen=True)
class Skipped:
    """A picture that can't be trained on, and why, in the words "has no caption"."""

    name: str
    reason: str


def open_pictures(data):
    """All pictures of `data`, in an order of their own that stays the same: ([Picture], [Skipped]).

    `data` is a folder, a .jsonl file, one .tar, a folder of .tar files, or tars by a pattern such as
    "shards/{0000..0099}.tar". Only headers are read. Raises TrainingError where nothing can be trained on.
    """
    # Here, because each of them makes a Picture.
    from .caption_lines import read_caption_lines
    from .picture_folder import read_picture_folder
    from .picture_tars import find_tars, read_picture_tars

    tars = find_tars(str(data))
    path = Path(data)
    if tars:
        found, skipped = read_picture_tars(tars)
    elif path.is_dir():
        found, skipped = read_picture_folder(path)
    elif path.is_file() and path.suffix.lower() == ".jsonl":
        found, skipped = read_caption_lines(path)
    else:
        raise TrainingError(
            f"{quoted(str(data))} is no data; give a folder of pictures with .txt files, a .jsonl file, or WebDataset "
            ".tar files."
        )
    with ThreadPoolExecutor(8) as threads:
        sized = list(threads.map(with_size, found))
    pictures = [one for one in sized if isinstance(one, Picture)]
    skipped = skipped + [one for one in sized if isinstance(one, Skipped)]
    if not pictures:
        raise TrainingError(
            f"{quoted(str(data))} has no picture with a caption"
            + (f" ({skipped_sentence(skipped)})" if skipped else "")
            + "; put each caption into a .txt beside its picture, under the same name."
        )
    return pictures, skipped


def with_size(picture):
    """The Picture with the size that its header states, or Skipped."""
    if picture.size != NO_SIZE:
        return picture
    size = header_size(picture.path)
    if size is None:
        return Skipped(picture.name, "is corrupt" if picture.path.is_file() else "is missing")
    return replace(picture, size=size)


def header_size(file):
    """(width, height) that the header of a path or an open file states, upright, or None where it is no picture's."""
    try:
        with Image.open(file) as image:
            width, height = image.size
            # Of a PNG that states nothing in its header the whole picture would be read to look behind it.
            stated = image.format != "PNG" or "exif" in image.info
            turned = stated and image.getexif().get(ORIENTATION) in TURNED
    except Exception:  # PIL raises whatever a broken file leads it to
        return None
    return (height, width) if turned else (width, height)


def with_captions(picture, captions):
    """The Picture with its captions without those that are empty, or Skipped where none is left."""
    captions = tuple(text.strip() for text in captions if isinstance(text, str) and text.strip())
    return replace(picture, captions=captions) if captions else Skipped(picture.name, "has no caption")


def divided(found):
    """A list of Picture and Skipped -> ([Picture], [Skipped])."""
    return [one for one in found if isinstance(one, Picture)], [one for one in found if isinstance(one, Skipped)]


def skipped_sentence(skipped):
    """How many were skipped and the first names, for each reason: "2 pictures have no caption: a.png, b.png"."""
    parts = []
    for reason in dict.fromkeys(one.reason for one in skipped):
        names = [one.name for one in skipped if one.reason == reason]
        many = len(names) > 1
        plural = {"is": "are", "has": "have"}
        verb, _, rest = reason.partition(" ")
        said = f"{plural.get(verb, verb) if many else verb} {rest}"
        shown = ", ".join(quoted(name) for name in names[:NAMED]) + (", ..." if len(names) > NAMED else "")
        parts.append(f"{len(names):,} picture{'s' if many else ''} {said}: {shown}")
    return "; ".join(parts)

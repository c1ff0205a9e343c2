"""What can be known of a safetensors file without reading its tensors, and a plain word when it is none."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from safetensors import SafetensorError, safe_open

from .errors import ELLAError, file_name, of_error
from .file_kind import look_alike

# A header takes a dozen times its length in memory; those of the largest models stay far below.
LONGEST_HEADER = 16 * 2**20


@dataclass(frozen=True)
class Header:
    """Shapes and dtypes (safetensors' own words, "F16", "BF16", ...) by tensor name, and the file's metadata."""

    path: str
    shapes: dict[str, tuple[int, ...]]
    dtypes: dict[str, str]
    metadata: dict[str, str] = field(default_factory=dict)


def read_header(path):
    """Header of the safetensors file at `path`, its length checked against the header; reads no tensor.

    Raises ELLAError for a file that is missing, empty, cut off, or no safetensors file at all.
    """
    path = os.fspath(path)
    name = file_name(path)
    if not os.path.isfile(path):
        raise ELLAError(f"{name} does not exist as a file; put it there or choose another one.")
    try:
        length = header_length(path)
        if length > LONGEST_HEADER:
            raise SafetensorError(f"its header would be {length:,} bytes long")
        with safe_open(path, "pt") as file:
            shapes, dtypes = {}, {}
            for key in file.keys():
                tensor = file.get_slice(key)
                shapes[key] = tuple(tensor.get_shape())
                dtypes[key] = tensor.get_dtype()
            return Header(path, shapes, dtypes, file.metadata() or {})
    except (SafetensorError, OSError) as error:
        raise unreadable(path, error) from error


def header_length(path):
    """The number of bytes that a safetensors file's first eight state for its header."""
    with open(path, "rb") as file:
        return int.from_bytes(file.read(8), "little")


def unreadable(path, error):
    """The ELLAError of a file that safetensors refused with `error`: what it looks like, else what was wrong."""
    name = file_name(path)
    try:
        guess = look_alike(path)
        size = os.path.getsize(path)
    except OSError as system:
        return ELLAError(f"{name} can't be read ({of_error(system)}); allow ComfyUI to read it or choose another one.")
    if guess:
        found, remedy = guess
        return ELLAError(f"{name} {found}; {remedy}.")
    return ELLAError(
        f"{name} can't be read as safetensors ({size:,} bytes on disk; {of_error(error)}), so it is cut off or no "
        "model file; download it again."
    )

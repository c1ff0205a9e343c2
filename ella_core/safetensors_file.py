"""What can be known of a safetensors file without reading its tensors, and a plain word when it is none."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from safetensors import SafetensorError, safe_open

from .errors import ELLAError


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
    name = os.path.basename(path)
    if not os.path.isfile(path):
        raise ELLAError(f"{path} does not exist; put the file there or choose another one.")
    size = os.path.getsize(path)
    if size == 0:
        raise ELLAError(f"{name} is empty (0 bytes); download it again.")
    with open(path, "rb") as file:
        start = file.read(512)
    if start.startswith(b"version https://git-lfs"):
        raise ELLAError(
            f"{name} is a Git LFS pointer of {size} bytes, not the model itself; download the file with the browser or "
            "run 'git lfs pull'."
        )
    if start.lstrip()[:1] == b"<":
        raise ELLAError(
            f"{name} is a web page of {size:,} bytes, not a model; use the page's download button instead of saving "
            "the page."
        )
    if start.startswith(b"PK\x03\x04") or start.startswith(b"\x80\x02"):
        raise ELLAError(
            f"{name} is a pickle file, which can run code when it is opened; get the model as a real .safetensors file."
        )
    try:
        with safe_open(path, "pt") as file:
            shapes, dtypes = {}, {}
            for key in file.keys():
                tensor = file.get_slice(key)
                shapes[key] = tuple(tensor.get_shape())
                dtypes[key] = tensor.get_dtype()
            return Header(path, shapes, dtypes, file.metadata() or {})
    except (SafetensorError, OSError) as error:
        raise ELLAError(
            f"{name} can't be read as safetensors ({size:,} bytes on disk; {error}), so it is cut off or no model "
            "file; download it again."
        ) from error

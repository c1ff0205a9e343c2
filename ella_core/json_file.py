"""A small JSON file that lies beside a model."""

import json
import os
from pathlib import Path

from .errors import ELLAError, file_name, of_error, quoted
from .file_kind import look_alike

LONGEST = 4 * 2**20  # bytes; read, they take twenty times as much, and such files have a few thousand


def read_json(path):
    """The object in a JSON file of at most 4 MiB, as a dict; UTF-8, -16 or -32, with or without a byte order mark.

    Raises ELLAError, saying what the file is where that can be told, for one that holds no object.
    """
    name = file_name(path)
    try:
        size = os.path.getsize(path)
        content = Path(path).read_bytes() if size <= LONGEST else None
    except OSError as error:
        raise ELLAError(f"{name} can't be read ({of_error(error)}); allow ComfyUI to read it.") from error
    if content is None:
        raise ELLAError(f"{name} is {size:,} bytes long, where a small JSON file is expected; download it again.")
    try:
        found = json.loads(content)
    except (ValueError, RecursionError) as error:
        what, remedy = look_alike(path) or (f"is not valid JSON ({of_error(error)})", "download it again")
        raise ELLAError(f"{name} {what}; {remedy}.") from error
    if not isinstance(found, dict):
        raise ELLAError(f"{name} holds {quoted(found)} where an object of JSON is expected; download it again.")
    return found

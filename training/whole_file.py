"""Files that a kill leaves as they were or as they shall be, and what waits for the disk."""

from __future__ import annotations

import os

PART = ".part"


def write_whole(path, data):
    """Puts bytes into a file that appears whole or not at all."""
    part = path.with_name(path.name + PART)
    part.write_bytes(data)
    sync(part)
    os.replace(part, path)


def sync(path):
    """Waits until a file, or the list of a folder's files, is on the disk."""
    if path.is_dir() and os.name == "nt":
        return  # Windows has no such thing for folders
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

"""The files below a model folder, each folder listed once for each of its changes."""

import os
import stat
import time
from typing import NamedTuple

# A change within the tick of a file system's clock leaves the time of a folder as it was; FAT's takes two seconds.
TICK = 2.0
LISTED = {}  # Listing by path of a folder


class Listing(NamedTuple):
    """What a folder held at its time of change: names of files, of folders, and of links to folders."""

    changed: float
    listed: float
    files: tuple[str, ...]
    folders: tuple[str, ...]
    links: tuple[str, ...]


def walk_files(root):
    """(folder, names of its files) of `root` and all folders below it, links followed, no folder visited twice.

    A folder that is reached in several ways has the path without a link; of links alone, the first. Files are regular
    ones, and links to nothing, which a list may explain. Folders that can't be read are left out.
    """
    seen = set()
    waiting, links = [root], []
    while waiting or links:
        folder = waiting.pop() if waiting else links.pop(0)
        try:
            status = os.stat(folder)
            known = LISTED.get(folder)
            if known is None or known.changed != status.st_mtime or known.listed < known.changed + TICK:
                known = LISTED[folder] = list_folder(folder, status.st_mtime)
        except OSError:
            LISTED.pop(folder, None)
            continue
        if (status.st_dev, status.st_ino) in seen:
            continue
        seen.add((status.st_dev, status.st_ino))
        yield folder, known.files
        waiting += (os.path.join(folder, name) for name in reversed(known.folders))
        links += (os.path.join(folder, name) for name in known.links)


def list_folder(folder, changed):
    """Listing of a folder whose time of change is `changed`."""
    listed = time.time()
    files, folders, links = [], [], []
    with os.scandir(folder) as entries:
        for entry in entries:
            try:
                mode = entry.stat().st_mode
            except OSError:
                if entry.is_symlink():
                    files.append(entry.name)
                continue
            if stat.S_ISREG(mode):
                files.append(entry.name)
            elif stat.S_ISDIR(mode):
                (links if entry.is_symlink() else folders).append(entry.name)
    return Listing(changed, listed, *(tuple(sorted(names)) for names in (files, folders, links)))

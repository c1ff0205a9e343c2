"""The folder of a cache: latents and text states in LitData's format, written shard by shard.

    cache.json             what it was made from and with; another VAE or text encoder is refused by it
    empty.safetensors      the text states of the empty prompt
    chunk-<rank>-<k>.bin   LitData's chunk of shard k
    shards/<k>.index.json  LitData's index of that chunk
    shards/<k>.json        {"bucket": [512, 512], "captions": [1, 3], "skipped": [...]}; with it the shard is there
    pictures.json          the facts of all shards in one file
    index.json             LitData's index of all chunks; with it the cache is complete

An item is a picture with one of its captions: the latents are small beside the text states. Files but the chunks
appear whole or not at all, and a chunk that has no shards/<k>.json is written again.
"""

from __future__ import annotations

import json
import os
import shutil
import zlib
from functools import cached_property
from pathlib import Path

import torch
from safetensors.torch import load_file, save

from ella_core.errors import file_name, quoted
from ella_core.json_file import read_json

from .errors import TrainingError
from .whole_file import sync, write_whole

# LitData asks its publisher for a newer version of itself whenever a dataset is opened.
os.environ.setdefault("LITDATA_DISABLE_VERSION_CHECK", "1")

FORMAT = 1
SETTINGS, EMPTY, SHARDS = "cache.json", "empty.safetensors", "shards"
PICTURES, INDEX = "pictures.json", "index.json"
GO_ON = "run `python -m training cache` again with the same options"


class CacheFolder:
    """An existing cache at `path`; raises TrainingError where there is none.

    `settings` is what cache.json holds.
    """

    def __init__(self, path):
        self.path = Path(path)
        if not (self.path / SETTINGS).is_file():
            raise TrainingError(
                f"{quoted(str(path))} holds no {SETTINGS}; give the folder that `python -m training cache --out` made."
            )
        self.settings = read_json(self.path / SETTINGS)
        if self.settings.get("format") != FORMAT:
            raise TrainingError(
                f"{quoted(str(path))} is a cache of format {quoted(self.settings.get('format'))}, and this version "
                f"reads {FORMAT}; cache the pictures again."
            )

    @classmethod
    def create(cls, path, settings):
        """Makes a cache, or opens the one that is there if it was begun with the same settings, else TrainingError."""
        path = Path(path)
        settings = json.loads(json.dumps({"format": FORMAT, **settings}))
        if (path / SETTINGS).exists():
            folder = cls(path)
            check_same(folder.path, folder.settings, settings)
            return folder
        if path.exists() and any(one.name not in (f"{SETTINGS}.part", SHARDS) for one in path.iterdir()):
            raise TrainingError(
                f"{quoted(str(path))} holds files but no {SETTINGS}; give --out a new or an empty folder."
            )
        with on_disk(path):
            (path / SHARDS).mkdir(parents=True, exist_ok=True)
            write_whole(path / SETTINGS, json.dumps(settings, indent=2, ensure_ascii=False).encode())
        return cls(path)

    # ---- the empty prompt

    @cached_property
    def empty_states(self):
        """Text states of the empty prompt, (1, T, text_dim)."""
        try:
            return load_file(self.path / EMPTY)["empty_states"]
        except Exception as error:  # safetensors has errors of its own
            raise TrainingError(f"{EMPTY} of {quoted(str(self.path))} is missing or broken; {GO_ON}.") from error

    def keep_empty_states(self, states):
        """Writes them once. Raises TrainingError if those that are there came from another language model."""
        if (self.path / EMPTY).exists():
            self.check_empty_states(states)
            return
        with on_disk(self.path):
            write_whole(self.path / EMPTY, save({"empty_states": states.contiguous()}))

    def check_empty_states(self, states):
        """Raises TrainingError unless a language model reads the empty prompt as the cache's did.

        The cosine must reach 0.999, which leaves room for another device and none for other weights.
        """
        kept = self.empty_states
        same = kept.shape == states.shape and kept.dtype == states.dtype
        if same:
            same = torch.cosine_similarity(kept.double().flatten(), states.double().flatten(), dim=0) > 0.999
        if not same:
            raise TrainingError(
                f"The cache {quoted(str(self.path))} was made with another language model: it reads the empty prompt "
                "differently; give the one that it was made with, or cache the pictures again."
            )

    # ---- shards

    def shard(self, number):
        """What shards/<number>.json says, or None where the shard is not there yet."""
        path = self.path / SHARDS / f"{number}.json"
        return read_json(path) if path.exists() else None

    def missing(self):
        """Numbers of the shards that are still to be written, or whose chunk was deleted or cut off."""
        return [number for number in range(self.settings["shards"]) if not self._is_whole(number)]

    def _is_whole(self, number):
        shard, index = self.shard(number), self.path / SHARDS / f"{number}.{INDEX}"
        if shard is None or not shard["captions"]:
            return shard is not None
        return index.exists() and all(
            self._size_of(chunk) == chunk["chunk_bytes"] for chunk in read_json(index)["chunks"]
        )

    def _size_of(self, chunk):
        path = self.path / chunk["filename"]
        return path.stat().st_size if path.exists() else None

    def keep_shard(self, number, facts, items):
        """Writes a shard: `items` as LitData's chunk, then `facts`. What a killed process left of it is replaced."""
        from litdata.streaming.writer import BinaryWriter  # slow to import

        aside = self.path / f".shard-{number}"
        with on_disk(self.path):
            shutil.rmtree(aside, ignore_errors=True)
            if items:
                writer = BinaryWriter(str(aside), chunk_size=len(items), chunk_index=number)
                for place, item in enumerate(items):
                    writer[place] = item
                writer.done()
                (index,) = aside.glob(f"*.{INDEX}")
                (chunk,) = aside.glob("*.bin")
                sync(chunk)
                for other in self.path.glob(f"chunk-*-{number}.bin"):  # of a process of another rank
                    other.unlink()
                os.replace(chunk, self.path / chunk.name)
                os.replace(index, self.path / SHARDS / f"{number}.{INDEX}")
            write_whole(self.path / SHARDS / f"{number}.json", json.dumps(facts, ensure_ascii=False).encode())
            shutil.rmtree(aside, ignore_errors=True)

    def complete(self):
        """Joins the indexes of all shards to LitData's, which makes the cache complete; returns the shards' facts."""
        facts = [self.shard(number) for number in range(self.settings["shards"])]
        indexes = [
            read_json(self.path / SHARDS / f"{number}.{INDEX}") for number, one in enumerate(facts) if one["captions"]
        ]
        if not indexes:
            raise TrainingError("All pictures are corrupt, so there is nothing to train on; give --data sound ones.")
        chunks = [chunk for index in indexes for chunk in index["chunks"]]
        with on_disk(self.path):
            write_whole(self.path / PICTURES, json.dumps(facts, ensure_ascii=False).encode())
            joined = {"chunks": chunks, "config": indexes[0]["config"], "updated_at": "0"}
            write_whole(self.path / INDEX, json.dumps(joined).encode())
        return facts

    def all_shards(self):
        """The facts of all shards of a complete cache."""
        try:
            return json.loads((self.path / PICTURES).read_bytes())
        except (OSError, ValueError) as error:
            raise TrainingError(
                f"{PICTURES} of the cache {quoted(str(self.path))} is missing or broken; delete {INDEX} there and "
                f"{GO_ON}."
            ) from error

    def chunks(self):
        """LitData's entries of all chunks, each checked to be there and whole; TrainingError names what isn't."""
        if not (self.path / INDEX).exists():
            raise TrainingError(
                f"The cache {quoted(str(self.path))} is not complete ({len(self.missing())} of "
                f"{self.settings['shards']} shards are missing); {GO_ON}."
            )
        chunks = json.loads((self.path / INDEX).read_bytes())["chunks"]
        for chunk in chunks:
            found = self._size_of(chunk)
            if found != chunk["chunk_bytes"]:
                cut = f"is {found} bytes long where {chunk['chunk_bytes']} are expected"
                self.broken(self.path / chunk["filename"], "is missing" if found is None else cut)
        return chunks

    def broken(self, path, found):
        """Raises the TrainingError of a shard that is `found` so."""
        delete = "delete it and " if path.exists() else ""
        raise TrainingError(
            f"The shard {file_name(path)} of the cache {quoted(str(self.path))} {found}; {delete}{GO_ON}, which makes "
            "this shard alone."
        )


def make_item(latents, states, sizes):
    """An item of the cache: latents (4, h, w), text states (T, text_dim), SDXL's sizes, and a checksum."""
    item = {"latents": latents, "states": states, "sizes": torch.tensor(sizes)}
    return item | {"crc": checksum(item)}


def checksum(item):
    """crc32 over an item's tensors, which a bit that turned on a disk changes."""
    crc = 0
    for name in ("latents", "states", "sizes"):
        crc = zlib.crc32(item[name].contiguous().reshape(-1).view(torch.uint8).numpy(), crc)
    return crc


def check_same(path, kept, asked):
    """Raises TrainingError with each difference between a cache's settings and those asked for."""
    differing = [key for key in sorted(kept.keys() | asked.keys()) if kept.get(key) != asked.get(key)]
    if differing:
        shown = ", ".join(f"{key} {brief(kept.get(key))}, now {brief(asked.get(key))}" for key in differing)
        raise TrainingError(
            f"The cache {quoted(str(path))} was made from something else ({shown}); ask for the same again, or give "
            "--out a new folder."
        )


def brief(value):
    """A setting as a sentence shows it."""
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 160 else text[:157] + "..."


class on_disk:
    """Turns the system's error inside into the TrainingError of a folder that can't be written."""

    def __init__(self, path):
        self.path = path

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        if isinstance(error, OSError):
            reason = error.strerror or str(error)
            raise TrainingError(
                f"{quoted(str(self.path))} can't be written ({quoted(reason, 100)}); make room and {GO_ON}, what was "
                "done is kept."
            ) from error
        return False

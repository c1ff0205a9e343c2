"""The data of a training from a cache: neither VAE nor language model is in memory."""

from __future__ import annotations

import json
from functools import cached_property

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from ella_core.errors import quoted

from .batch import Batch
from .cache_folder import CacheFolder, check_same, checksum
from .errors import TrainingError
from .order import Order, Ordered, Positions


class CachedInputs(Ordered):
    """Batches from the cache at `path`, in the order of `seed`; `workers` processes read ahead.

    `facts` are the text encoder's, see docs/connector_format.md; `empty_states` (1, T, text_dim) those of the empty
    prompt. Raises TrainingError for a cache that is incomplete or has a missing or broken shard, which it names.
    """

    def __init__(self, path, seed=0, workers=0):
        self.folder = CacheFolder(path)
        self.folder.chunks()
        self.facts = self.folder.settings["text_encoder"]
        self.empty_states = self.folder.empty_states
        self.workers = workers
        shards = self.folder.all_shards()
        # Of each picture its number of captions and the first of its items.
        self.counts = np.concatenate([np.array(shard["captions"], dtype=np.int64) for shard in shards])
        self.firsts = np.cumsum(self.counts) - self.counts
        super().__init__(Order(by_bucket(shards), seed))

    def __len__(self):
        return len(self.counts)

    def check(self, vae=None, text_encoder=None):
        """Raises TrainingError unless the cache was made with these facts, of a checkpoint's VAE and a text encoder."""
        asked = {"vae": vae, "text_encoder": text_encoder}
        asked = {key: json.loads(json.dumps(value)) for key, value in asked.items() if value is not None}
        check_same(self.folder.path, {key: self.folder.settings[key] for key in asked}, asked)

    def check_encoding(self, encoding):
        """Raises TrainingError unless the cache was made by an Encoding like this: the same facts and weights."""
        self.check(vae=encoding.vae.facts, text_encoder=encoding.facts)
        self.folder.check_empty_states(encoding.text_states(""))

    def batches(self, batch_size, rank=0, world_size=1):
        """Batches without end from the position on, for process `rank`; see DataSource."""

        def plan(order):
            _, drawn = order.next_batches(batch_size, world_size)[rank]
            return [
                int(self.firsts[picture]) + order.caption(picture, turn, int(self.counts[picture]))
                for picture, turn in drawn
            ]

        positions = Positions(self.order_from_here(), plan)
        for batch in load(CacheReader(self.folder.path), positions, self.workers):
            positions.take()
            self._state = positions.state
            yield batch


class CacheReader(Dataset):
    """Numbers of items -> Batch, read by LitData in whichever process asks."""

    def __init__(self, path):
        self.path = path

    @cached_property
    def items(self):
        from litdata import StreamingDataset  # slow to import

        return StreamingDataset(str(self.path))

    @cached_property
    def folder(self):
        return CacheFolder(self.path)

    def __getitem__(self, numbers):
        return make_batch([self.item(number) for number in numbers])

    def item(self, number):
        """One item. Raises TrainingError for a shard that is broken."""
        try:
            item = self.items[number]
            whole = item["crc"] == checksum(item)
        except Exception:  # LitData raises whatever the bytes lead it to
            whole = False
        if not whole:
            self.folder.broken(self._chunk_of(number), "is broken")
        return item

    def _chunk_of(self, number):
        for chunk in self.folder.chunks():
            number -= chunk["chunk_size"]
            if number < 0:
                return self.path / chunk["filename"]
        raise TrainingError(f"The cache {quoted(str(self.path))} changed while it was read; start again.")


def by_bucket(shards):
    """The numbers of the pictures of each bucket that has any."""
    found, first = {}, 0
    for shard in shards:
        count = len(shard["captions"])
        found.setdefault(tuple(shard["bucket"]), []).append(np.arange(first, first + count))
        first += count
    joined = [np.concatenate(found[bucket]) for bucket in sorted(found)]
    return [pictures for pictures in joined if len(pictures)]


def make_batch(items):
    """Batch of items with latents (4, h, w), text states (T, text_dim) and sizes (6)."""
    states = [item["states"] for item in items]
    same = len({len(one) for one in states}) == 1
    return Batch(
        latents=torch.stack([item["latents"] for item in items]),
        text_states=torch.stack(states) if same else [one[None] for one in states],
        sizes=torch.stack([item["sizes"] for item in items]),
    )


def load(reader, positions, workers):
    """What `reader` makes of each of the positions, by `workers` processes ahead of time; TrainingError as it is."""
    # A generator of its own, because the loader would else draw from the one that the training's noise comes from.
    loader = DataLoader(
        Told(reader),
        sampler=positions,
        batch_size=None,
        num_workers=workers,
        collate_fn=as_it_is,
        generator=torch.Generator().manual_seed(0),
    )
    for found in loader:
        if isinstance(found, TrainingError):
            raise found
        yield found


class Told(Dataset):
    """A reader whose TrainingError comes out as a value, because a DataLoader would wrap it in a trace."""

    def __init__(self, reader):
        self.reader = reader

    def __getitem__(self, wanted):
        try:
            return self.reader[wanted]
        except TrainingError as error:
            return error


def as_it_is(batch):
    """For a DataLoader, which would otherwise take a batch apart."""
    return batch

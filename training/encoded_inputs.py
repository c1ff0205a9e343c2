"""The data of a training without a cache: pictures and prompts are encoded when their turn comes."""

from __future__ import annotations

import sys
from functools import cached_property

import torch
from torch.utils.data import Dataset
from tqdm import tqdm

from ella_core.errors import quoted

from .buckets import fit, nearest_bucket
from .cached_inputs import load, make_batch
from .errors import TrainingError
from .order import Order, Ordered, Positions


class EncodedInputs(Ordered):
    """Batches of `pictures` (see `open_pictures`) by an Encoding, each in its bucket, in the order of `seed`.

    The same as CachedInputs gives for a cache of these pictures. `workers` processes read pictures ahead. One that is
    corrupt is skipped with a line that says so: the next sound one of its bucket stands in for it, and `skipped` keeps
    its name.
    """

    def __init__(self, pictures, buckets, encoding, seed=0, workers=0):
        self.encoding = encoding
        self.facts = encoding.facts
        self.workers = workers
        self.skipped = []
        self.buckets, members = occupied(pictures, buckets)
        # In the order of a cache: by bucket.
        self.pictures = [pictures[number] for found in members for number in found]
        counts = [len(found) for found in members]
        starts = [sum(counts[:one]) for one in range(len(counts))]
        super().__init__(Order([range(start, start + count) for start, count in zip(starts, counts)], seed))

    def __len__(self):
        return len(self.pictures)

    @cached_property
    def empty_states(self):
        """Text states of the empty prompt, (1, T, text_dim)."""
        return self.encoding.text_states("")

    def batches(self, batch_size, rank=0, world_size=1):
        """Batches without end from the position on, for process `rank`; see DataSource."""

        def plan(order):
            return order.next_batches(batch_size, world_size)[rank]

        positions = Positions(self.order_from_here(), plan)
        reader = PictureReader(self.pictures, self.buckets, self.order.buckets)
        for samples, corrupt in load(reader, positions, self.workers):
            for name in dict.fromkeys(corrupt):
                if name not in self.skipped:
                    self.skipped.append(name)
                    tqdm.write(f"training: skipped {quoted(name)}, which is corrupt.", file=sys.stderr)
            batch = make_batch([self._encoded(*sample) for sample in samples])
            positions.take()
            self._state = positions.state
            yield batch

    def _encoded(self, number, turn, fitted):
        captions = self.pictures[number].captions
        caption = captions[self.order.caption(number, turn, len(captions))]
        return {
            "latents": self.encoding.latents(fitted.pixels)[0],
            "states": self.encoding.text_states(caption)[0],
            "sizes": torch.tensor(fitted.sizes),
        }


class PictureReader(Dataset):
    """(number of a bucket, [(number of a picture, pass)]) -> ([(number, pass, Fitted)], names of corrupt pictures)."""

    def __init__(self, pictures, buckets, members):
        self.pictures = pictures
        self.buckets = buckets
        self.members = members

    def __getitem__(self, planned):
        bucket, drawn = planned
        corrupt = []
        return [(*self.read(bucket, number, turn, corrupt),) for number, turn in drawn], corrupt

    def read(self, bucket, number, turn, corrupt):
        """The picture, or the next sound one of its bucket. Raises TrainingError where none is sound."""
        members = self.members[bucket]
        for ahead in range(len(members)):
            candidate = int(members[(number - members[0] + ahead) % len(members)])
            try:
                return candidate, turn, fit(self.pictures[candidate].read(), self.buckets[bucket])
            except TrainingError:
                corrupt.append(self.pictures[candidate].name)
        raise TrainingError(
            f"All {len(members)} pictures of about {self.buckets[bucket][0]} x {self.buckets[bucket][1]} pixels are "
            f"corrupt (first: {corrupt[0]}); replace or remove them."
        )


def occupied(pictures, buckets):
    """([bucket], [numbers of its pictures]) of the buckets that have any."""
    found = {}
    for number, picture in enumerate(pictures):
        found.setdefault(nearest_bucket(picture.size, buckets), []).append(number)
    return [buckets[one] for one in sorted(found)], [found[one] for one in sorted(found)]

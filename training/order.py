"""In which order pictures are trained on: shuffled, a batch from one bucket, from any position on the same."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from .errors import TrainingError

BUCKET, SHUFFLE, CAPTION = 1, 2, 3  # what a random number is for


class Order:
    """An endless order of batches. Each bucket is shuffled anew for each of its passes, and passes follow each other
    without a gap, so that no picture is left out.

    `buckets` holds the picture numbers of each. Random numbers depend on the seed and on the place in the order alone;
    the position is how many pictures of each bucket have been drawn.
    """

    def __init__(self, buckets, seed):
        self.buckets = [np.asarray(bucket) for bucket in buckets]
        self.seed = seed
        self.drawn = [0] * len(self.buckets)
        self.batches = 0
        self._shuffled = lru_cache(maxsize=2 * len(self.buckets))(self._shuffle)

    def next_batch(self, size):
        """(number of a bucket, [(number of a picture, pass)]) of the next `size` pictures."""
        bucket = self._next_bucket()
        count, first = len(self.buckets[bucket]), self.drawn[bucket]
        places = [divmod(place, count) for place in range(first, first + size)]
        self.drawn[bucket] += size
        self.batches += 1
        return bucket, [(int(self._shuffled(bucket, turn)[place]), turn) for turn, place in places]

    def next_batches(self, size, count):
        """The next `count` batches, one for each process."""
        return [self.next_batch(size) for _ in range(count)]

    def caption(self, picture, turn, count):
        """Which of its `count` captions a picture shows in a pass: each in turn, from a random one on."""
        if count == 1:
            return 0
        return int(np.random.default_rng((self.seed, CAPTION, picture)).integers(count) + turn) % count

    def state_dict(self):
        """The position, for JSON."""
        return {"seed": self.seed, "drawn": list(self.drawn), "batches": self.batches}

    def load_state_dict(self, state):
        """Goes to a position. Raises TrainingError for that of other data or another seed."""
        if state["seed"] != self.seed or len(state["drawn"]) != len(self.drawn):
            raise TrainingError(
                f"The run's position is one of seed {state['seed']} in {len(state['drawn'])} buckets, and the data has "
                f"seed {self.seed} and {len(self.drawn)} buckets; resume with the data and seed of the run."
            )
        self.drawn, self.batches = list(state["drawn"]), state["batches"]

    def _next_bucket(self):
        """A bucket by chance, weighed by the pictures that it lacks of the pass that the slowest bucket is in."""
        counts, drawn = np.array([len(bucket) for bucket in self.buckets]), np.array(self.drawn)
        lacking = np.maximum((np.min(drawn // counts) + 1) * counts - drawn, 0)
        chance = np.random.default_rng((self.seed, BUCKET, self.batches))
        return int(chance.choice(len(counts), p=lacking / lacking.sum()))

    def _shuffle(self, bucket, turn):
        chance = np.random.default_rng((self.seed, SHUFFLE, bucket, turn))
        return chance.permutation(self.buckets[bucket])


class Positions:
    """What a loader asks for ahead of time, while the position remains that of the batch in hand.

    Iterating gives what `plan(order)` makes of the next batch; `take()` is called once for each batch that comes out.
    """

    def __init__(self, order, plan):
        self.order = order
        self.plan = plan
        self.ahead = []
        self.state = order.state_dict()

    def __iter__(self):
        while True:
            planned = self.plan(self.order)
            self.ahead.append(self.order.state_dict())
            yield planned

    def take(self):
        """Moves the position by the batch that came out."""
        self.state = self.ahead.pop(0)


class Ordered:
    """A data source in an Order: its position is that after the batch that was taken last, `_state`."""

    def __init__(self, order):
        self.order = order
        self._state = order.state_dict()

    def state_dict(self):
        """The position after the batch that was taken last, for JSON."""
        return self._state

    def load_state_dict(self, state):
        """Goes to a position; `batches` goes on from there. Raises TrainingError for that of other data."""
        self.order.load_state_dict(state)
        self._state = self.order.state_dict()

    def order_from_here(self):
        """An Order of its own at the position, for what reads ahead."""
        order = Order(self.order.buckets, self.order.seed)
        order.load_state_dict(self._state)
        return order

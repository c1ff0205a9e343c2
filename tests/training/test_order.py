"""The order of training: nothing left out, the same from any position on, the same for any number of processes."""

import json
from collections import Counter

import numpy as np
import pytest

from training.errors import TrainingError
from training.order import Order

BUCKETS = [range(0, 40), range(40, 47), range(47, 48)]


def take(order, batches, size):
    return [order.next_batch(size) for _ in range(batches)]


def test_each_pass_of_a_bucket_shows_each_picture_once():
    order = Order([range(30)], seed=1)
    drawn = [one for _, batch in take(order, 20, 6) for one in batch]
    for turn in range(4):
        shown = drawn[30 * turn : 30 * turn + 30]
        assert sorted(picture for picture, _ in shown) == list(range(30)) and {t for _, t in shown} == {turn}
    assert drawn[:30] != sorted(drawn[:30]) and [p for p, _ in drawn[:30]] != [p for p, _ in drawn[30:60]]


@pytest.mark.parametrize("size", [1, 4, 64])
def test_buckets_keep_pace_and_batches_keep_to_one(size):
    order = Order(BUCKETS, seed=2)
    counts = np.array([40, 7, 1])
    for _ in range(300):
        bucket, batch = order.next_batch(size)
        assert len(batch) == size and all(picture in BUCKETS[bucket] for picture, _ in batch)
        passes = np.array(order.drawn) / counts
        # Nobody begins a pass before all others have begun it, a batch that runs over apart.
        assert np.all(np.array(order.drawn) <= (np.floor(passes).min() + 1) * counts + size)
    shown = Counter()
    for _, batch in take(order, 100, size):
        shown.update(picture for picture, _ in batch)
    if size < 64:
        assert set(shown) == set(range(48))


def test_from_any_position_on_it_is_the_same():
    whole = take(Order(BUCKETS, seed=3), 60, 5)
    order = Order(BUCKETS, seed=3)
    for stop in range(59):
        order.next_batch(5)
        again = Order(BUCKETS, seed=3)
        again.load_state_dict(json.loads(json.dumps(order.state_dict())))
        assert again.next_batch(5) == whole[stop + 1]


def test_seeds_differ_and_global_random_numbers_don_t_matter():
    np.random.seed(5)
    first = take(Order(BUCKETS, seed=4), 20, 4)
    np.random.seed(6)
    assert take(Order(BUCKETS, seed=4), 20, 4) == first != take(Order(BUCKETS, seed=5), 20, 4)


def test_captions_take_turns():
    order = Order([range(100)], seed=6)
    for picture in range(100):
        turns = [order.caption(picture, turn, 3) for turn in range(6)]
        assert sorted(turns[:3]) == [0, 1, 2] and turns[:3] == turns[3:]
    assert {order.caption(picture, 0, 3) for picture in range(100)} == {0, 1, 2}
    assert order.caption(5, 7, 1) == 0


def test_a_position_of_other_data_is_refused():
    state = Order(BUCKETS, seed=3).state_dict()
    with pytest.raises(TrainingError, match="seed 3 in 3 buckets"):
        Order(BUCKETS[:2], seed=3).load_state_dict(state)
    with pytest.raises(TrainingError, match="resume with the data and seed of the run"):
        Order(BUCKETS, seed=4).load_state_dict(state)

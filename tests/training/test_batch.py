import torch

from training.batch import Batch


def test_a_batch_is_as_long_as_its_pictures():
    lengths = [torch.zeros(1, length, 5) for length in (3, 7)]
    assert len(Batch(torch.zeros(2, 4, 8, 8), lengths)) == 2

"""Aspect buckets against brute force, resizing against Pillow's own."""

import numpy as np
import pytest
from PIL import ImageOps
from tiny_data import draw

from training.buckets import fit, make_buckets, nearest_bucket
from training.errors import TrainingError


@pytest.mark.parametrize(("resolution", "step", "widest"), [(512, 64, 2), (512, 8, 1.5), (1024, 64, 4), (64, 8, 2)])
def test_buckets_are_all_that_fit(resolution, step, widest):
    buckets = make_buckets(resolution, step, widest)
    assert (resolution, resolution) in buckets and len(set(buckets)) == len(buckets) and buckets == sorted(buckets)
    for width, height in buckets:
        assert width % step == height % step == 0 and width * height <= resolution**2
        assert max(width, height) / min(width, height) <= widest and (height, width) in buckets
        # No larger one of the same aspect side: of the two sides one can't grow by a step.
        assert (width + step) * height > resolution**2 or width * (height + step) > resolution**2
    sides = range(step, int(resolution * widest) + 1, step)
    tall = {(w, max(h for h in sides if w * h <= resolution**2)) for w in sides if w * step <= resolution**2}
    for width, height in tall:
        if max(width, height) / min(width, height) <= widest:
            assert (width, height) in buckets


def test_squares_alone():
    assert make_buckets(512, 64, 1) == [(512, 512)]


def test_the_nearest_is_nearest_by_ratio():
    buckets = make_buckets(512, 64, 2)
    for size in [(512, 512), (1000, 500), (500, 1000), (4000, 3000), (3000, 4000), (5000, 100)]:
        ratio = size[0] / size[1]
        distances = [max(w / h / ratio, ratio / (w / h)) for w, h in buckets]
        assert distances[nearest_bucket(size, buckets)] == min(distances)
    assert buckets[nearest_bucket((512, 512), buckets)] == (512, 512)


@pytest.mark.parametrize("size", [(100, 64), (64, 100), (333, 222), (40, 40), (64, 64), (1000, 90)])
@pytest.mark.parametrize("bucket", [(64, 64), (80, 48)])
def test_a_picture_fills_its_bucket(size, bucket):
    fitted = fit(draw(size, 3), bucket)
    assert fitted.pixels.shape == (bucket[1], bucket[0], 3)
    assert 0 <= fitted.pixels.min() and fitted.pixels.max() <= 1
    height, width, top, left, target_height, target_width = fitted.sizes
    assert (width, height) == size and (target_width, target_height) == bucket
    assert top == 0 or left == 0
    # Pillow cuts to parts of a pixel, we to whole ones, so the two may be off by half a pixel of a smooth picture.
    other = np.array(ImageOps.fit(draw(size, 3), bucket, method=3)) / 255
    assert np.abs(fitted.pixels.numpy() - other).mean() < 0.02


def test_a_picture_of_the_right_size_stays_as_it_is():
    image = draw((64, 64), 2)
    assert np.array_equal(np.array(image), (fit(image, (64, 64)).pixels.numpy() * 255).round())


@pytest.mark.parametrize("wrong", [(512, 60, 2), (500, 64, 2), (512, 64, 0.5), (512, 0, 2)])
def test_sizes_that_the_vae_can_t_take(wrong):
    with pytest.raises(TrainingError, match="expected|must be"):
        make_buckets(*wrong)

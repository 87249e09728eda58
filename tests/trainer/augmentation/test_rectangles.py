"""Rectangles as torchvision draws them, one image after the other."""

import math

import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

from trainer.augmentation import rectangles


def torchvision_loop(random, side, shares, aspects, largest):
    """RandomResizedCrop.get_params, in its own words: [height, width], or None."""
    for _ in range(10):
        area = side * side * random.uniform(*shares)
        aspect = math.exp(random.uniform(*map(math.log, aspects)))
        width = round(math.sqrt(area * aspect))
        height = round(math.sqrt(area / aspect))
        if 0 < width <= largest and 0 < height <= largest:
            return height, width
    return None


@pytest.mark.parametrize(
    ("shares", "aspects", "largest"),
    [((0.08, 1.0), (3 / 4, 4 / 3), 32), ((0.02, 0.33), (0.3, 1 / 0.3), 31)],
)
def test_sides_are_distributed_as_torchvisions(shares, aspects, largest):
    count = 4000
    found = rectangles.draw(
        tf.zeros([count, 32, 32, 1]), (5, 6), shares, aspects, (largest, largest)
    )
    random = np.random.default_rng(8)
    expected = [
        torchvision_loop(random, 32, shares, aspects, largest) for _ in range(count)
    ]
    assert None not in expected
    assert found.is_found.numpy().all()
    height, width = found.height.numpy()[:, 0], found.width.numpy()[:, 0]
    for mine, theirs in zip((height, width), np.transpose(expected), strict=True):
        assert stats.ks_2samp(mine, theirs).pvalue > 0.01
    for first, length in ((found.top, height), (found.left, width)):
        place = first.numpy()[:, 0]
        assert (place >= 0).all()
        assert (place + length <= 32).all()
        rooms = 32 - length
        has_room = rooms > 8
        share = (place[has_room] + 0.5) / (rooms[has_room] + 1)
        assert stats.kstest(share, "uniform").statistic < 0.06  # of steps


def test_what_never_fits_is_not_found():
    found = rectangles.draw(
        tf.zeros([3, 8, 8, 1]), (5, 6), (0.9, 1), (0.3, 0.31), (8, 8)
    )
    assert not found.is_found.numpy().any()

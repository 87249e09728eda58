import numpy as np
import pytest
from scipy import stats


def test_salt_and_pepper_sets_whole_px(run, numbered):
    images = numbered(8, 40, channels=3)
    outputs = run(images, [("salt_and_pepper", {"share": 0.2})])
    highest = images.max(axis=(1, 2, 3))[:, None, None, None]
    lowest = images.min(axis=(1, 2, 3))[:, None, None, None]
    is_kept = (outputs == images).all(axis=3)
    is_salt = (outputs == highest).all(axis=3)
    is_pepper = (outputs == lowest).all(axis=3)
    assert (is_kept | is_salt | is_pepper).all()
    # 12,800 px: three deviations are 0.008.
    assert abs(is_salt.mean() - 0.1) < 0.01
    assert abs(is_pepper.mean() - 0.1) < 0.01


def test_cutout_erases_a_square_about_any_px(run):
    images = np.ones([3000, 5, 5, 2], np.float32)
    outputs = run(images, [("cutout", {"side_px": 3})])
    is_erased = outputs == 0
    assert (is_erased | (outputs == 1)).all()
    np.testing.assert_array_equal(is_erased[..., 0], is_erased[..., 1])
    seen = set()
    for erased in is_erased[..., 0]:
        rows, columns = (
            np.flatnonzero(erased.any(axis=1)),
            np.flatnonzero(erased.any(0)),
        )
        assert erased[np.ix_(rows, columns)].all()
        assert erased.sum() == len(rows) * len(columns)
        seen.add((tuple(rows), tuple(columns)))
    # Five centres a side; at the rim the square is cut off.
    spans = [(0, 1), (0, 1, 2), (1, 2, 3), (2, 3, 4), (3, 4)]
    assert seen == {(rows, columns) for rows in spans for columns in spans}


def test_cutout_of_an_even_side(run):
    outputs = run(np.ones([200, 8, 8, 1], np.float32), [("cutout", {"side_px": 2})])
    erased = (outputs == 0).sum(axis=(1, 2, 3))
    assert set(erased) == {1, 2, 4}


def erased_rectangles(outputs, images):
    """(height, width) of the rectangle of px that differ, a row an image; 0 for none."""
    found = []
    for changed in (outputs != images).all(axis=3):
        rows, columns = (
            np.flatnonzero(changed.any(axis=1)),
            np.flatnonzero(changed.any(axis=0)),
        )
        assert changed[np.ix_(rows, columns)].all()
        assert changed.sum() == len(rows) * len(columns)
        assert (np.diff(rows) == 1).all()
        assert (np.diff(columns) == 1).all()
        found.append((len(rows), len(columns)))
    return np.array(found)


@pytest.mark.parametrize("channels", [1, 3])
def test_random_erasing_takes_rectangles_of_its_share(run, numbered, channels):
    images = numbered(1000, 16, channels)
    erasing = {"probability": 0.4, "largest_share": 0.3}
    outputs = run(images, [("random_erasing", erasing)])
    assert (outputs[outputs != images] == 0).all()
    heights, widths = erased_rectangles(outputs, images).T
    is_erased = heights > 0
    assert abs(is_erased.mean() - 0.4) < 0.05
    heights, widths = heights[is_erased], widths[is_erased]
    assert max(heights.max(), widths.max()) < 16
    # Sides are rounded by half a px at most.
    assert ((heights - 0.5) * (widths - 0.5)).max() <= 0.3 * 256
    assert ((heights + 0.5) * (widths + 0.5)).min() >= 0.02 * 256
    assert ((widths - 0.5) / (heights + 0.5)).max() <= 1 / 0.3
    assert ((widths + 0.5) / (heights - 0.5)).min() >= 0.3


def test_random_erasing_writes_noise(run):
    images = np.random.default_rng(2).normal(size=[200, 12, 12, 3]).astype(np.float32)
    images[:, 0, 0], images[:, 0, 1] = -5, 7
    erasing = {"probability": 1.0, "largest_share": 0.3, "fill": "noise"}
    outputs = run(images, [("random_erasing", erasing)])
    erased_rectangles(outputs, images)
    noise = outputs[outputs != images]
    assert stats.kstest(noise, stats.uniform(-5, 12).cdf).pvalue > 0.01

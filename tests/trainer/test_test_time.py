import numpy as np
import pytest
import tensorflow as tf

from trainer import test_time

IMAGE = np.array([[1, 2, 3], [4, 5, 6], [7, 8, 9]], np.float32)


def views(kind):
    found, weights = test_time.weighted_views(
        tf.constant(IMAGE[None, :, :, None]), kind
    )
    assert {view.shape.as_list() == [1, 3, 3, 1] for view in found} == {True}
    return [view.numpy()[0, :, :, 0].tolist() for view in found], weights


def test_none_is_the_image_alone():
    assert views("none") == ([IMAGE.tolist()], [1.0])


def test_mirror_by_hand():
    mirrored = [[3, 2, 1], [6, 5, 4], [9, 8, 7]]
    assert views("mirror") == ([IMAGE.tolist(), mirrored], [0.5, 0.5])


def test_shifts_by_hand():
    down_right = [[5, 4, 5], [2, 1, 2], [5, 4, 5]]
    up_left = [[5, 6, 5], [8, 9, 8], [5, 6, 5]]
    found, weights = views("mirror_shift")
    plain = [IMAGE.tolist(), down_right, up_left]
    assert found[:3] == plain
    assert found[3:] == [[row[::-1] for row in view] for view in plain]
    assert weights == [0.25, 0.125, 0.125] * 2


@pytest.mark.parametrize("kind", ["mirror", "mirror_shift"])
def test_colour_and_batch_are_kept(kind):
    images = np.random.default_rng(1).normal(size=[4, 6, 6, 3]).astype(np.float32)
    found, weights = test_time.weighted_views(tf.constant(images), kind)
    assert sum(weights) == 1
    np.testing.assert_array_equal(found[0], images)
    np.testing.assert_array_equal(found[len(found) // 2], images[:, :, ::-1])

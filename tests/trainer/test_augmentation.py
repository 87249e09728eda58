import numpy as np
import pytest
import tensorflow as tf

from schema import errors
from trainer import augmentation


def numbered(batch, side, channels=1):
    """Images whose px all differ and are never 0."""
    count = batch * side * side * channels
    return np.arange(1, count + 1, dtype=np.float32).reshape(
        batch, side, side, channels
    )


def run(images, steps, seed=(1, 2)):
    """Result in a TF1 graph, checked to be that of a `tf.data` map, as training runs it."""
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        outputs = augmentation.augment(tf.constant(images), steps, seed)
        in_graph = session.run(outputs)
    dataset = tf.data.Dataset.from_tensors(images).map(
        lambda batch: augmentation.augment(batch, steps, seed)
    )
    np.testing.assert_array_equal(in_graph, next(dataset.as_numpy_iterator()))
    return in_graph


def windows(image, side):
    """All crops of `side` px of one image."""
    places = range(image.shape[0] - side + 1)
    return [
        image[top : top + side, left : left + side] for top in places for left in places
    ]


def test_flip_by_hand():
    images = np.array([[[[1], [2], [3]], [[4], [5], [6]]]], np.float32)
    flipped = run(images, [("flip_left_right", {"probability": 1.0})])
    assert flipped[0, :, :, 0].tolist() == [[3, 2, 1], [6, 5, 4]]
    kept = run(images, [("flip_left_right", {"probability": 0.0})])
    np.testing.assert_array_equal(kept, images)


def test_flip_draws_each_image():
    images = numbered(400, 2)
    outputs = run(images, [("flip_left_right", {})])
    is_flipped = (outputs == images[:, :, ::-1]).all(axis=(1, 2, 3))
    is_kept = (outputs == images).all(axis=(1, 2, 3))
    assert (is_flipped ^ is_kept).all()
    assert 150 < is_flipped.sum() < 250


def test_pad_crop_is_a_window_of_the_padded_image():
    images = numbered(200, 3, channels=2)
    outputs = run(images, [("pad_crop", {"pad_px": 1})])
    places = set()
    for image, output in zip(images, outputs, strict=True):
        padded = np.pad(image, [(1, 1), (1, 1), (0, 0)])
        places.add(
            [np.array_equal(output, window) for window in windows(padded, 3)].index(
                True
            )
        )
    assert places == set(range(9))


def test_pad_crop_of_a_wide_image():
    images = numbered(4, 6)[:, :3]
    outputs = run(images, [("pad_crop", {"pad_px": 0})])
    np.testing.assert_array_equal(outputs, images)


def test_random_crop_is_a_window():
    images = numbered(100, 4, channels=3)
    outputs = run(images, [("random_crop", {"image_size_px": 3})])
    places = {
        [np.array_equal(output, window) for window in windows(image, 3)].index(True)
        for image, output in zip(images, outputs, strict=True)
    }
    assert places == set(range(4))


def test_random_crop_to_the_same_size_changes_nothing():
    images = numbered(3, 4)
    outputs = run(images, [("random_crop", {"image_size_px": 4})])
    np.testing.assert_array_equal(outputs, images)


def test_equal_seeds_give_equal_images():
    images = numbered(16, 8, channels=3)
    steps = [("pad_crop", {"pad_px": 2}), ("flip_left_right", {})]
    first = run(images, steps, seed=(7, 9))
    np.testing.assert_array_equal(first, run(images, steps, seed=(7, 9)))
    assert not np.array_equal(first, run(images, steps, seed=(7, 10)))
    assert not np.array_equal(first, run(images, steps, seed=(8, 9)))


def test_a_step_draws_for_itself():
    images = numbered(64, 2)
    once = run(images, [("flip_left_right", {})])
    twice = run(images, [("flip_left_right", {}), ("flip_left_right", {})])
    assert not np.array_equal(once, images)
    assert not np.array_equal(twice, images)


def test_keeps_static_shapes_with_an_unknown_batch():
    with tf.Graph().as_default():
        images = tf.compat.v1.placeholder(tf.float32, [None, 8, 8, 3])
        steps = [
            ("pad_crop", {"pad_px": 2}),
            ("flip_left_right", {}),
            ("random_crop", {"image_size_px": 6}),
        ]
        outputs = augmentation.augment(images, steps, seed=[3, 4])
    assert outputs.shape.as_list() == [None, 6, 6, 3]
    assert outputs.dtype == tf.float32


@pytest.mark.parametrize(
    ("size", "expected"),
    [(2, [[6, 7], [10, 11]]), (3, [[1, 2, 3], [5, 6, 7], [9, 10, 11]])],
)
def test_central_crop_by_hand(size, expected):
    outputs = augmentation.central_crop(tf.constant(numbered(1, 4)), size)
    assert outputs[0, :, :, 0].numpy().tolist() == expected


@pytest.mark.parametrize(
    "crop",
    [
        lambda images: augmentation.central_crop(images, 5),
        lambda images: augmentation.random_crop(images, (1, 2), 5),
    ],
)
def test_crop_larger_than_the_image(crop):
    with pytest.raises(errors.ConfigError, match="cannot crop images to 5 px") as info:
        crop(tf.constant(numbered(1, 4)))
    assert info.value.found == "4 x 4 px"


def test_unknown_name_names_the_nearest():
    with pytest.raises(errors.ConfigError, match="did you mean 'pad_crop'"):
        augmentation.augment(tf.constant(numbered(1, 4)), [("pad_corp", {})], (1, 2))

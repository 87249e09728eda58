import numpy as np
import pytest
import tensorflow as tf

from trainer.augmentation import light


@pytest.fixture
def images():
    random = np.random.default_rng(4)
    return random.normal(0.3, 1.2, [500, 4, 4, 3]).astype(np.float32)


def test_brightness_adds_one_number_to_all_px(run, images):
    added = run(images, [("brightness", {"largest": 0.7})]) - images
    one = added.mean(axis=(1, 2, 3), keepdims=True)
    np.testing.assert_allclose(added, np.broadcast_to(one, added.shape), atol=1e-5)
    assert is_spread(one, -0.7, 0.7)


def test_contrast_spreads_about_each_channels_mean(run, images):
    outputs = run(images, [("contrast", {"largest": 0.8})])
    mean = images.mean(axis=(1, 2), keepdims=True)
    factor = outputs.std(axis=(1, 2)) / images.std(axis=(1, 2))
    np.testing.assert_allclose(
        outputs,
        mean + (images - mean) * factor[:, None, None, :],
        rtol=1e-3,
        atol=1e-4,
    )
    np.testing.assert_allclose(factor, np.tile(factor[:, :1], 3), rtol=1e-3)
    assert is_spread(factor, 0.2, 1.8)


def test_saturation_keeps_the_gray(run, images):
    outputs = run(images, [("saturation", {"largest": 0.5})])
    luma = np.array([0.2989, 0.587, 0.114], np.float32)
    np.testing.assert_allclose(outputs @ luma, images @ luma, atol=1e-3)
    colour = images - (images @ luma)[..., None]
    changed = outputs - (images @ luma)[..., None]
    factor = (changed * colour).sum(axis=(1, 2, 3)) / (colour**2).sum(axis=(1, 2, 3))
    np.testing.assert_allclose(
        changed, colour * factor[:, None, None, None], rtol=1e-3, atol=1e-4
    )
    assert is_spread(factor, 0.5, 1.5)


def test_saturation_is_that_of_tensorflow_at_its_ends(monkeypatch):
    random = np.random.default_rng(1)
    image = random.uniform(size=[1, 4, 4, 3]).astype(np.float32)
    monkeypatch.setattr(light, "_draws", lambda images, seed, low, high: low)
    gray = light.saturation(tf.constant(image), (1, 2), 1.0)
    expected = tf.image.grayscale_to_rgb(tf.image.rgb_to_grayscale(image))
    np.testing.assert_allclose(gray, expected, atol=1e-3)


def is_spread(values, low, high):
    """Within the limits, and near both of them."""
    margin = 0.05 * (high - low)
    return (
        low - 1e-3 <= values.min() < low + margin
        and high - margin < values.max() <= high + 1e-3
    )

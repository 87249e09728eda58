"""Each operation against Pillow's, which rounds to whole levels."""

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageEnhance, ImageOps

from trainer.augmentation import operations

# Operation -> amounts, Pillow's way, and the difference that its rounding may make.
PILLOW = {
    "brightness": (
        (-0.9, -0.27, 0.0, 0.6),
        lambda image, amount: ImageEnhance.Brightness(image).enhance(1 + amount),
        1.0,
    ),
    "colour": (
        (-1.0, -0.27, 0.0, 0.6),
        lambda image, amount: ImageEnhance.Color(image).enhance(1 + amount),
        2.0,
    ),
    "contrast": (
        (-0.9, -0.27, 0.0, 0.6),
        lambda image, amount: ImageEnhance.Contrast(image).enhance(1 + amount),
        2.0,
    ),
    "sharpness": (
        (-0.9, -0.27, 0.0, 0.6),
        lambda image, amount: ImageEnhance.Sharpness(image).enhance(1 + amount),
        2.0,
    ),
    "posterize": (
        (8, 7, 4, 2),
        lambda image, bits: ImageOps.posterize(image, int(bits)),
        0.0,
    ),
    "solarize": (
        (255, 178.5, 100, 0),
        lambda image, threshold: ImageOps.solarize(image, threshold),
        0.0,
    ),
    "autocontrast": ((0,) * 4, lambda image, _: ImageOps.autocontrast(image), 1.0),
    "equalize": ((0,) * 4, lambda image, _: ImageOps.equalize(image), 0.0),
}
ALL = operations.RELATIVE | operations.ON_LEVELS


def pixels(channels):
    """Four images: noise, dark noise, few levels, one level."""
    random = np.random.default_rng(7)
    shape = [16, 16, channels]
    return np.stack(
        [
            random.integers(0, 256, shape),
            random.integers(20, 90, shape),
            random.choice([3, 100, 101, 250], shape, p=[0.1, 0.2, 0.6, 0.1]),
            np.full(shape, 77),
        ]
    ).astype(np.uint8)


def test_all_are_compared():
    assert PILLOW.keys() == ALL.keys()


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", PILLOW)
def test_it_is_pillows(name, channels):
    amounts, theirs, rounding = PILLOW[name]
    if name == "colour" and channels == 1:
        pytest.skip("a gray image has no colour to change")
    images = pixels(channels)
    mine = ALL[name](tf.constant(images, tf.float32), tf.constant(amounts, tf.float32))
    mine = np.clip(mine.numpy(), 0, 255)
    for image, amount, found in zip(images, amounts, mine, strict=True):
        picture = Image.fromarray(image.squeeze(-1) if channels == 1 else image)
        expected = np.asarray(theirs(picture, amount), np.float32).reshape(found.shape)
        np.testing.assert_allclose(found, expected, atol=rounding)


def test_what_is_relative_needs_no_levels():
    """A shift and a scale of all px alike come out as they went in."""
    images = np.random.default_rng(7).uniform(0, 255, [5, 8, 8, 3]).astype(np.float32)
    amounts = tf.constant([-0.9, -0.3, 0.0, 0.3, 0.9])
    for operation in operations.RELATIVE.values():
        standardised = operation(tf.constant((images - 110) / 60), amounts)
        expected = (operation(tf.constant(images), amounts).numpy() - 110) / 60
        np.testing.assert_allclose(standardised, expected, atol=1e-3)

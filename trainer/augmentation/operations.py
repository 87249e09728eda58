"""Changes of light, colour and tone, with a strength for each image; for policies.

Values agree with torchvision's operations of the same name on float images of 0..255,
except where a docstring says otherwise.
"""

from collections.abc import Callable

import tensorflow as tf

from trainer.augmentation.levels import HIGHEST
from trainer.augmentation.light import LUMA

Operation = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]

_NUM_LEVELS = 256
# Of a px among its neighbours, each of which counts 1. Source: ImageFilter.SMOOTH of Pillow.
_OWN_WEIGHT = 5.0


def colour(images: tf.Tensor, amount: tf.Tensor) -> tf.Tensor:
    """The px against their gray, at 1 + `amount`: -1 is gray, 0 changes nothing."""
    return _blend(images, _gray(images), amount)


def contrast(images: tf.Tensor, amount: tf.Tensor) -> tf.Tensor:
    """The px against the mean gray of the image, not rounded, at 1 + `amount`."""
    mean = tf.reduce_mean(_gray(images), axis=[1, 2, 3], keepdims=True)
    return _blend(images, mean, amount)


def sharpness(images: tf.Tensor, amount: tf.Tensor) -> tf.Tensor:
    """The px against a smoothed image, at 1 + `amount`; those of the rim stay as they are."""
    rows = images[:, :-2] + images[:, 1:-1] + images[:, 2:]
    around = rows[:, :, :-2] + rows[:, :, 1:-1] + rows[:, :, 2:]
    inner = images[:, 1:-1, 1:-1]
    smooth = (around + (_OWN_WEIGHT - 1) * inner) / (_OWN_WEIGHT + 8)
    changed = _blend(inner, smooth, amount)
    rim = [[0, 0], [1, 1], [1, 1], [0, 0]]
    is_inner = tf.pad(tf.ones_like(inner[:1, :, :, :1], tf.bool), rim)
    return tf.where(is_inner, tf.pad(changed, rim), images)


def brightness(levels: tf.Tensor, amount: tf.Tensor) -> tf.Tensor:
    """Levels of 0..255 times 1 + `amount`."""
    return levels * (1 + _by_image(amount))


def posterize(levels: tf.Tensor, bits: tf.Tensor) -> tf.Tensor:
    """The highest `bits` of 8 of each rounded level."""
    step = 2.0 ** (8 - _by_image(bits))
    return tf.floor(tf.round(levels) / step) * step


def solarize(levels: tf.Tensor, threshold: tf.Tensor) -> tf.Tensor:
    """Levels from `threshold` on are inverted."""
    return tf.where(levels >= _by_image(threshold), HIGHEST - levels, levels)


def autocontrast(levels: tf.Tensor, unused: tf.Tensor) -> tf.Tensor:
    """The levels of each channel spread to 0..255, not rounded."""
    del unused
    lowest = tf.reduce_min(levels, axis=[1, 2], keepdims=True)
    highest = tf.reduce_max(levels, axis=[1, 2], keepdims=True)
    spread = (levels - lowest) * (HIGHEST / (highest - lowest))
    return tf.where(highest > lowest, spread, levels)


def equalize(levels: tf.Tensor, unused: tf.Tensor) -> tf.Tensor:
    """Rounded levels with an equalised histogram in each channel, as Pillow's equalize."""
    del unused
    height_px, width_px, channels = levels.shape[1:]
    rounded = tf.cast(tf.clip_by_value(tf.round(levels), 0, HIGHEST), tf.int32)
    highest = tf.reduce_max(rounded, axis=[1, 2])
    count = tf.size(highest)
    first_bins = tf.reshape(_NUM_LEVELS * tf.range(count), [-1, 1, 1, channels])
    bins = first_bins + rounded
    histogram = tf.reshape(
        tf.math.unsorted_segment_sum(
            tf.ones_like(bins), bins, num_segments=_NUM_LEVELS * count
        ),
        [-1, channels, _NUM_LEVELS],
    )
    at_highest = tf.gather(histogram, highest, batch_dims=2)
    step = (height_px * width_px - at_highest)[:, :, None] // (_NUM_LEVELS - 1)
    below = tf.cumsum(histogram, axis=2, exclusive=True)
    table = (below + step // 2) // tf.maximum(step, 1)
    table = tf.where(
        step > 0, tf.minimum(table, _NUM_LEVELS - 1), tf.range(_NUM_LEVELS)
    )
    return tf.cast(tf.gather(tf.reshape(table, [-1]), bins), tf.float32)


# Operations that need no levels, and those that do. Without levels nothing is clipped.
RELATIVE: dict[str, Operation] = {
    "contrast": contrast,
    "colour": colour,
    "sharpness": sharpness,
}
ON_LEVELS: dict[str, Operation] = {
    "brightness": brightness,
    "posterize": posterize,
    "solarize": solarize,
    "autocontrast": autocontrast,
    "equalize": equalize,
}


def _blend(images: tf.Tensor, other: tf.Tensor, amount: tf.Tensor) -> tf.Tensor:
    return other + (images - other) * (1 + _by_image(amount))


def _gray(images: tf.Tensor) -> tf.Tensor:
    if images.shape[3] == 1:
        return images
    return tf.reduce_sum(images * tf.constant(LUMA), axis=3, keepdims=True)


def _by_image(amount: tf.Tensor) -> tf.Tensor:
    return amount[:, None, None, None]

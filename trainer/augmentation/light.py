"""Light and colour: brightness, contrast and saturation of each image.

Standardisation of each image would undo changes of brightness and contrast, so they come
after it, in the units of the preprocessed image: standard deviations, or halves of the
range of gray levels with minus_one_to_one.
"""

import tensorflow as tf

# Weights of red, green and blue in the brightness of a px. Source: ITU-R BT.601, as
# tf.image.rgb_to_grayscale takes them.
LUMA = (0.2989, 0.5870, 0.1140)


def brightness(images: tf.Tensor, seed: tf.Tensor, largest: float) -> tf.Tensor:
    """Adds a number between -`largest` and `largest` to all px of each image."""
    return images + _draws(images, seed, -largest, largest)


def contrast(images: tf.Tensor, seed: tf.Tensor, largest: float) -> tf.Tensor:
    """Spreads the px about their channel's mean, by 1 - `largest` to 1 + `largest`."""
    mean = tf.reduce_mean(images, axis=[1, 2], keepdims=True)
    return mean + (images - mean) * _draws(images, seed, 1 - largest, 1 + largest)


def saturation(images: tf.Tensor, seed: tf.Tensor, largest: float) -> tf.Tensor:
    """Spreads the three channels about the px's gray, by 1 - `largest` to 1 + `largest`."""
    gray = tf.reduce_sum(images * tf.constant(LUMA), axis=3, keepdims=True)
    return gray + (images - gray) * _draws(images, seed, 1 - largest, 1 + largest)


def _draws(images: tf.Tensor, seed: tf.Tensor, low: float, high: float) -> tf.Tensor:
    batch = tf.shape(images)[0]
    return tf.random.stateless_uniform([batch, 1, 1, 1], seed, low, high)

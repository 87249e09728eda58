"""Parts of an image that are lost: single px, or a square."""

import tensorflow as tf


def salt_and_pepper(images: tf.Tensor, seed: tf.Tensor, share: float) -> tf.Tensor:
    """Sets about `share` of the px to the image's highest or lowest value, half each."""
    draws = tf.random.stateless_uniform([*_sides(images), 1], seed)
    highest = tf.reduce_max(images, axis=[1, 2, 3], keepdims=True)
    lowest = tf.reduce_min(images, axis=[1, 2, 3], keepdims=True)
    salted = tf.where(draws < share / 2, highest, images)
    return tf.where(draws >= 1 - share / 2, lowest, salted)


def cutout(images: tf.Tensor, seed: tf.Tensor, side_px: int) -> tf.Tensor:
    """Sets a square of `side_px` to 0 in each image; its centre is any px.

    What of the square lies outside the image is lost, so less may be erased.

    Reference: DeVries and Taylor, arXiv:1708.04552, section 3.2, with 16 px of 32.
    """
    batch, height_px, width_px = _sides(images)
    is_row = _is_in_span(batch, height_px, side_px, seed, 0)
    is_column = _is_in_span(batch, width_px, side_px, seed, 1)
    is_erased = is_row[:, :, None, None] & is_column[:, None, :, None]
    return tf.where(is_erased, tf.zeros_like(images), images)


def _is_in_span(
    batch: tf.Tensor, length_px: int, span_px: int, seed: tf.Tensor, axis: int
) -> tf.Tensor:
    """[batch, length_px], true in a span of `span_px` about a px drawn at random."""
    axis_seed = tf.random.experimental.stateless_fold_in(seed, axis)
    centre = tf.random.stateless_uniform([batch, 1], axis_seed, 0, length_px, tf.int32)
    first = centre - span_px // 2
    place = tf.range(length_px)[None, :]
    return (place >= first) & (place < first + span_px)


def _sides(images: tf.Tensor) -> tuple[tf.Tensor, int, int]:
    return tf.shape(images)[0], images.shape[1], images.shape[2]

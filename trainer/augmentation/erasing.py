"""Erases parts of an image: single px, a square or a rectangle."""

import tensorflow as tf

from trainer.augmentation import rectangles, seeds

# Of the rectangle of random erasing: smallest share of the area, and width / height.
ERASED_SHARE = 0.02
ERASED_ASPECTS = (0.3, 1 / 0.3)


def salt_and_pepper(images: tf.Tensor, seed: tf.Tensor, share: float) -> tf.Tensor:
    """Sets about `share` of the px to the image's highest or lowest value, half each."""
    draws = tf.random.stateless_uniform([*_sides(images), 1], seed)
    highest = tf.reduce_max(images, axis=[1, 2, 3], keepdims=True)
    lowest = tf.reduce_min(images, axis=[1, 2, 3], keepdims=True)
    salted = tf.where(draws < share / 2, highest, images)
    return tf.where(draws >= 1 - share / 2, lowest, salted)


def cutout(images: tf.Tensor, seed: tf.Tensor, side_px: int) -> tf.Tensor:
    """Sets a square of `side_px` to 0 in each image; its centre is any px.

    The part of the square outside the image has no effect.

    Reference: DeVries and Taylor, arXiv:1708.04552, section 3.2, with 16 px of 32.
    """
    batch, height_px, width_px = _sides(images)
    is_row = _is_in_span(batch, height_px, side_px, seed, 0)
    is_column = _is_in_span(batch, width_px, side_px, seed, 1)
    is_erased = is_row[:, :, None, None] & is_column[:, None, :, None]
    return tf.where(is_erased, tf.zeros_like(images), images)


def random_erasing(
    images: tf.Tensor,
    seed: tf.Tensor,
    probability: float,
    largest_share: float,
    fill: str = "zero",
) -> tf.Tensor:
    """Overwrites a rectangle inside each image, with `probability`.

    The aspect is 0.3 to 1 / 0.3. Where ten tries do not fit, the image stays unchanged.

    Args:
      largest_share: the area is between 0.02 and this share of the image's.
      fill: 'zero', or 'noise': values drawn uniformly between the lowest and the highest
        of the image.

    Reference: Zhong et al., arXiv:1708.04896, section 3.2; sides and places as in
      torchvision's RandomErasing.
    """
    batch, height_px, width_px = _sides(images)
    cut = rectangles.draw(
        images,
        seed,
        (ERASED_SHARE, largest_share),
        ERASED_ASPECTS,
        (height_px - 1, width_px - 1),
    )
    drawn = tf.random.stateless_uniform([batch, 1], seeds.fold(seed, 4)) < probability
    row, column = tf.range(height_px)[None, :], tf.range(width_px)[None, :]
    is_row = (row >= cut.top) & (row < cut.top + cut.height) & cut.is_found & drawn
    is_column = (column >= cut.left) & (column < cut.left + cut.width)
    is_erased = is_row[:, :, None, None] & is_column[:, None, :, None]
    if fill == "zero":
        return tf.where(is_erased, tf.zeros_like(images), images)
    highest = tf.reduce_max(images, axis=[1, 2, 3], keepdims=True)
    lowest = tf.reduce_min(images, axis=[1, 2, 3], keepdims=True)
    noise = tf.random.stateless_uniform(tf.shape(images), seeds.fold(seed, 5))
    return tf.where(is_erased, lowest + noise * (highest - lowest), images)


def _is_in_span(
    batch: tf.Tensor, length_px: int, span_px: int, seed: tf.Tensor, axis: int
) -> tf.Tensor:
    """[batch, length_px], true in a span of `span_px` about a px drawn at random."""
    axis_seed = seeds.fold(seed, axis)
    centre = tf.random.stateless_uniform([batch, 1], axis_seed, 0, length_px, tf.int32)
    first = centre - span_px // 2
    place = tf.range(length_px)[None, :]
    return (place >= first) & (place < first + span_px)


def _sides(images: tf.Tensor) -> tuple[tf.Tensor, int, int]:
    return tf.shape(images)[0], images.shape[1], images.shape[2]

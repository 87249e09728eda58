"""Mixes pairs of images and their targets, float32 [batch, num_classes].

The partner of image i is image -1 - i of the batch, whose order is random already.
"""

import tensorflow as tf

from trainer.augmentation import seeds


def mixup(
    images: tf.Tensor, targets: tf.Tensor, seed: tf.Tensor, alpha: float
) -> tuple[tf.Tensor, tf.Tensor]:
    """Each image and target blended with its partner's, in a share from Beta(alpha, alpha).

    A small `alpha` leaves most images nearly unchanged, 1 makes all shares equally likely.

    Reference: Zhang et al., arXiv:1710.09412, section 2; shares are drawn by image.
    """
    share = _beta(tf.shape(images)[0], seed, alpha)
    return (
        _blend(images, tf.reshape(share, [-1, 1, 1, 1])),
        _blend(targets, share[:, None]),
    )


def cutmix(
    images: tf.Tensor, targets: tf.Tensor, seed: tf.Tensor, alpha: float
) -> tuple[tf.Tensor, tf.Tensor]:
    """A box of each image replaced by its partner's, the targets in proportion to the area.

    The box covers a share of the image from Beta(alpha, alpha), less its part outside.

    Reference: Yun et al., arXiv:1905.04899, section 3.1; boxes are drawn by image.
    """
    batch, height_px, width_px = tf.shape(images)[0], images.shape[1], images.shape[2]
    side = tf.sqrt(1 - _beta(batch, seed, alpha))
    is_row = _is_in_box(height_px, side, seed, 1)
    is_column = _is_in_box(width_px, side, seed, 2)
    is_kept = ~(is_row[:, :, None, None] & is_column[:, None, :, None])
    kept = tf.cast(is_kept, tf.float32)
    share = tf.reduce_mean(kept, axis=[1, 2, 3])
    return _blend(images, kept), _blend(targets, share[:, None])


def _blend(values: tf.Tensor, share: tf.Tensor) -> tf.Tensor:
    return share * values + (1 - share) * tf.reverse(values, [0])


def _beta(batch: tf.Tensor, seed: tf.Tensor, alpha: float) -> tf.Tensor:
    """Shares [batch], float32, from Beta(alpha, alpha)."""
    # In double precision: gamma of a small alpha falls below what single can hold.
    drawn = tf.random.stateless_gamma([2, batch], seed, alpha, dtype=tf.float64)
    return tf.cast(drawn[0] / (drawn[0] + drawn[1]), tf.float32)


def _is_in_box(
    length_px: int, side: tf.Tensor, seed: tf.Tensor, fold: int
) -> tf.Tensor:
    """[batch, length_px], true in a span of the share `side` [batch] about a px at random."""
    axis_seed = seeds.fold(seed, fold)
    draws = tf.random.stateless_uniform([tf.size(side), 1], axis_seed)
    centre = tf.floor(draws * length_px)
    half = tf.floor(side[:, None] * length_px) / 2
    place = tf.range(length_px, dtype=tf.float32)[None, :]
    return (place >= tf.floor(centre - half)) & (place < tf.floor(centre + half))

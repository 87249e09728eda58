"""Draws rectangles at random places in images, by share of the area and aspect."""

import dataclasses
import math

import tensorflow as tf

from trainer.augmentation import seeds

TRIES = 10


@dataclasses.dataclass(frozen=True)
class Rectangles:
    """One in each image, in px; int32 [batch, 1] all but the last.

    Attributes:
      top: first row. left: first column. height: rows. width: columns.
      is_found: bool [batch, 1]; where none of the tries fits, the others mean nothing.
    """

    top: tf.Tensor
    left: tf.Tensor
    height: tf.Tensor
    width: tf.Tensor
    is_found: tf.Tensor


def draw(
    images: tf.Tensor,
    seed: tf.Tensor,
    shares: tuple[float, float],
    aspects: tuple[float, float],
    largest_px: tuple[int, int],
) -> Rectangles:
    """The first of `TRIES` random rectangles that fits into each image.

    As torchvision's RandomResizedCrop and RandomErasing: sides rounded to px, the place
    uniform.

    Args:
      shares: smallest and largest share of the area, uniform between.
      aspects: smallest and largest width / height, uniform between in their logarithm.
      largest_px: height and width that still fit.
    """
    height_px, width_px = images.shape[1:3]
    shape = [tf.shape(images)[0], TRIES]
    area = height_px * width_px * _uniform(shape, seed, 0, *shares)
    aspect = tf.exp(_uniform(shape, seed, 1, *map(math.log, aspects)))
    height = tf.cast(tf.round(tf.sqrt(area / aspect)), tf.int32)
    width = tf.cast(tf.round(tf.sqrt(area * aspect)), tf.int32)
    fits = (
        (height > 0)
        & (height <= largest_px[0])
        & (width > 0)
        & (width <= largest_px[1])
    )
    first = tf.argmax(tf.cast(fits, tf.int32), axis=1)[:, None]
    height = tf.gather(height, first, batch_dims=1)
    width = tf.gather(width, first, batch_dims=1)
    return Rectangles(
        top=_place(height_px - height, seed, 2),
        left=_place(width_px - width, seed, 3),
        height=height,
        width=width,
        is_found=tf.gather(fits, first, batch_dims=1),
    )


def _place(room_px: tf.Tensor, seed: tf.Tensor, fold: int) -> tf.Tensor:
    """Integers [batch, 1] from 0 to `room_px`, uniform."""
    share = _uniform(tf.shape(room_px), seed, fold, 0.0, 1.0)
    return tf.cast(tf.floor(share * tf.cast(room_px + 1, tf.float32)), tf.int32)


def _uniform(
    shape: tf.Tensor, seed: tf.Tensor, fold: int, low: float, high: float
) -> tf.Tensor:
    folded = seeds.fold(seed, fold)
    return tf.random.stateless_uniform(shape, folded, low, high)

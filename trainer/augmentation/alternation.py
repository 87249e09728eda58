"""Which images an epoch shows mirrored, so that two epochs in a row show both sides."""

import numpy as np
import tensorflow as tf

# Keeps these draws apart from others of the same seed.
_STREAM = 0x666C6970


def first_sides(count: int, seed: int) -> np.ndarray:
    """Whether the first epoch mirrors each image, with equal chances, bool [count].

    Args:
      count: images of the split; an image is known by its place in it, in file order.
      seed: of the training.
    """
    random = np.random.default_rng([seed, _STREAM])
    return random.integers(0, 2, count, np.uint8).astype(bool)


def is_mirrored(
    first: tf.Tensor, epoch: tf.Tensor | int, repetition: tf.Tensor | int = 0
) -> tf.Tensor:
    """Whether a pass over an image shows it mirrored, bool [batch].

    Args:
      first: bool [batch], `first_sides` of the images.
      epoch: integer, from 0, in which the pass takes place.
      repetition: integers [batch] or scalar, from 0: passes over the same image before this
        one in the same epoch, which `train.balanced_sampling` makes; each shows the other
        side than the one before.

    Reference: Jordan, arXiv:2404.00498, section 3.6.
    """
    turns = tf.cast(epoch, tf.int64) + tf.cast(repetition, tf.int64)
    return tf.not_equal(first, tf.equal(turns % 2, 1))

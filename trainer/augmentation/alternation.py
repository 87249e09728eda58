"""Alternating flip: two epochs in a row show both sides of each image."""

import numpy as np
import tensorflow as tf

# Keeps these draws apart from others of the same seed.
_STREAM = 0x666C6970


def first_sides(count: int, seed: int) -> np.ndarray:
    """Whether the first epoch mirrors each image, with probability 0.5; bool [count].

    Args:
      count: images of the split, in file order.
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
      epoch: integer, from 0, of the pass.
      repetition: integers [batch] or scalar: earlier passes over the same image in the same
        epoch, from `train.balanced_sampling`; each shows the other side.

    Reference: Jordan, arXiv:2404.00498, section 3.6.
    """
    turns = tf.cast(epoch, tf.int64) + tf.cast(repetition, tf.int64)
    return tf.not_equal(first, tf.equal(turns % 2, 1))

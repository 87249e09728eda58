"""Seeds for several draws out of one."""

import tensorflow as tf


def fold(seed: tf.Tensor, place: int) -> tf.Tensor:
    """A seed of its own for the draw number `place`, integers [2] like `seed`."""
    return tf.random.experimental.stateless_fold_in(seed, place)

"""Learning rates as functions of the global step."""

import math
from collections.abc import Callable

import tensorflow as tf

from trainer import lookup


def constant(step: tf.Tensor, *, base_rate: float) -> tf.Tensor:
    """The same learning rate after any number of updates: scalar float32."""
    del step  # taken so that all schedules are called alike
    return tf.constant(base_rate, tf.float32)


def warmup_cosine(
    step: tf.Tensor, *, base_rate: float, warmup_steps: int, total_steps: int
) -> tf.Tensor:
    """Learning rate after `step` updates: linear ramp, then half a cosine down to zero.

    Args:
      step: scalar integer tensor, updates already applied.
      base_rate: peak rate per update, reached at `warmup_steps`. Linear scaling rule:
        0.1 for a batch of 256.
      warmup_steps: length of the ramp in updates; 0 means no ramp.
      total_steps: update at which the rate is zero.

    Returns:
      Scalar float32 tensor in [0, base_rate]; stays 0 beyond `total_steps`.

    Raises:
      ValueError: `total_steps` is not greater than `warmup_steps`, or that is negative.

    Reference: Loshchilov and Hutter, arXiv:1608.03983, eq. 5, one cycle.
    """
    if not 0 <= warmup_steps < total_steps:
        raise ValueError(
            "`total_steps` must be greater than `warmup_steps`, and that at least 0. "
            f"Received total_steps={total_steps}, warmup_steps={warmup_steps}."
        )
    updates = tf.cast(step, tf.float64)  # float32 counts steps exactly to 2**24 only
    progress = (updates - warmup_steps) / (total_steps - warmup_steps)
    progress = tf.clip_by_value(progress, 0.0, 1.0)
    falling = 0.5 * base_rate * (1.0 + tf.cos(math.pi * progress))
    rising = base_rate * updates / max(warmup_steps, 1)
    return tf.cast(tf.where(updates < warmup_steps, rising, falling), tf.float32)


Schedule = Callable[..., tf.Tensor]

SCHEDULES: dict[str, Schedule] = {
    "constant": constant,
    "warmup_cosine": warmup_cosine,
}


def find(name: str) -> Schedule:
    """The schedule called `name`: a function of the step and keyword arguments.

    Raises:
      ConfigError: there is none; the error names the nearest and lists all.
    """
    return lookup.find_by_name(SCHEDULES, name, "learning rate schedule")

"""Lookahead and the moving average of the weights, after each update.

Both include batch norm's moving statistics, so that these lag as the weights do.
"""

from collections.abc import Callable

import tensorflow as tf
import tensorflow.compat.v1 as v1
import tf_slim as slim

from trainer.config import TrainConfig
from trainer.plan import Plan


def averaged_variables() -> list[tf.Variable]:
    """Weights and batch norm's moving statistics of the net in the default graph."""
    return slim.get_model_variables()


def moving_average(
    train: TrainConfig, global_step: tf.Variable | None
) -> v1.train.ExponentialMovingAverage:
    """Average with the decay min(ema_decay, (1 + step) / (10 + step)) of each step.

    With `ema_every_steps` of k it has that decay to the power of k.
    """
    every = train.ema_every_steps
    if every == 1 or global_step is None:
        return v1.train.ExponentialMovingAverage(
            train.ema_decay, num_updates=global_step
        )
    step = tf.cast(global_step, tf.float32)
    return v1.train.ExponentialMovingAverage(
        tf.minimum(train.ema_decay, (1 + step) / (10 + step)) ** every
    )


def after(
    op: tf.Tensor,
    train: TrainConfig,
    plan: Plan | None,
    global_step: tf.Variable,
    is_applied: tf.Tensor | None,
) -> tf.Tensor:
    """`op`, an update of the weights, then Lookahead, then the moving average.

    Args:
      op: a tensor that depends on the update; its value stays.
      train: the settings of Lookahead and of the moving average.
      plan: length of the training; may be None without Lookahead.
      global_step: counted up by the update.
      is_applied: scalar bool, false for a skipped update, which moves no average; None:
        always true.

    Raises:
      ValueError: Lookahead without a plan.
    """
    if train.lookahead_steps:
        if plan is None:
            raise ValueError("`plan` must be given for Lookahead. Received None.")
        whole = plan
        op = _then(op, lambda: look_ahead(train, whole, global_step, is_applied))
    if train.ema_decay:
        op = _then(op, lambda: follow(train, global_step, is_applied))
    return op


def _then(op: tf.Tensor, build: Callable[[], tf.Tensor]) -> tf.Tensor:
    with tf.control_dependencies([op]):
        following = build()
    with tf.control_dependencies([following]):
        return tf.identity(op)


def follow(
    train: TrainConfig, global_step: tf.Variable, is_applied: tf.Tensor | None
) -> tf.Operation | tf.Tensor:
    """Moves the average every `train.ema_every_steps`; the arguments are those of `after`."""
    average = moving_average(train, global_step)
    if train.ema_every_steps == 1 and is_applied is None:
        return average.apply(averaged_variables())
    is_due = tf.equal(global_step % train.ema_every_steps, 0)
    return tf.cond(
        is_due if is_applied is None else is_due & is_applied,
        lambda: average.apply(averaged_variables()),
        tf.no_op,
    )


def look_ahead(
    train: TrainConfig,
    plan: Plan,
    global_step: tf.Variable,
    is_applied: tf.Tensor | None,
) -> tf.Tensor:
    """Moves slow weights towards the weights, and sets the weights to them, every k steps.

    slow = share * slow + (1 - share) * weights, then weights = slow, with
    share = lookahead_decay^k * (step / total_steps)^lookahead_power. Up to the start the slow
    weights are those of the last k-th step. The weights also become the slow ones at each
    planned measurement, which therefore measures these. The arguments are those of `after`;
    k is `lookahead_steps`, above 0.

    Reference: Zhang et al., arXiv:1907.08610, algorithm 1, which is lookahead_power 0 and
      lookahead_start_epochs 0. The growing share is that of airbench94 in
      KellerJordan/cifar10-airbench.
    """
    every = train.lookahead_steps
    started_at = round(train.lookahead_start_epochs * plan.steps_per_epoch)
    started_at = -(-started_at // every) * every
    step = tf.convert_to_tensor(global_step)
    progress = tf.cast(step, tf.float32) / plan.total_steps
    has_started = step > started_at
    share = tf.where(
        has_started,
        train.lookahead_decay**every * progress**train.lookahead_power,
        0.0,
    )
    slow = v1.train.ExponentialMovingAverage(share, name="Lookahead")
    is_due = tf.equal(step % every, 0)
    if is_applied is not None:
        is_due &= is_applied
    is_measured = tf.equal(step % plan.measure_steps, 0) | (step >= plan.total_steps)
    variables = averaged_variables()
    taken = tf.cond(is_due, lambda: slow.apply(variables), tf.no_op)
    with tf.control_dependencies([taken]):
        return tf.cond(
            has_started & (is_due | is_measured),
            lambda: tf.group(
                *(
                    variable.assign(slow.average(variable), read_value=False)
                    for variable in variables
                )
            ),
            tf.no_op,
        )

"""What follows an update of the weights: Lookahead, then their moving average.

Both cover the weights and batch norm's moving statistics, so that these lag alike.
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

    One that moves every k steps has that decay to the power of k.
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
    """`op`, an update of the weights, and what follows it.

    The moving average sees the weights that Lookahead leaves.

    Args:
      op: any tensor that the update comes with; its value stays.
      train: the settings of Lookahead and of the moving average.
      plan: length of the training; may be None without Lookahead.
      global_step: counted up by the update.
      is_applied: scalar bool, whether the update was not left out; None: always. No
        average moves where it was.

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
    """Moves the average every `train.ema_every_steps`.

    Args:
      train: `ema_decay` and `ema_every_steps`.
      global_step: with the update counted.
      is_applied: scalar bool, whether the update was not left out; None: always.
    """
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
    """Draws the weights back to slow ones, which take a share of them, every k steps.

    slow = share * slow + (1 - share) * weights, then weights = slow, with
    share = lookahead_decay^k * (step / total_steps)^lookahead_power. Up to the start the slow
    weights are those of the last k-th step. At each planned measurement, too, the weights
    become the slow ones, which so are what is measured.

    Args:
      train: the settings of Lookahead; k is `lookahead_steps`, above 0.
      plan: length of the training.
      global_step: with the update counted.
      is_applied: scalar bool, whether the update was not left out; None: always. Where it
        was, the slow weights take nothing.

    Reference: Zhang et al., arXiv:1907.08610, algorithm 1, which is a share that stays:
      lookahead_power 0, lookahead_start_epochs 0. The share that grows is that of
      airbench94 in KellerJordan/cifar10-airbench.
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

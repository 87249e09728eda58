"""The two graphs of a net: one that trains, one that infers, joined by the checkpoint.

Both are built anew from the same spec inside a `tf.Graph` of the caller's; `is_training`
is a Python bool, never a tensor.
"""

import dataclasses

import tensorflow as tf
import tensorflow.compat.v1 as v1
import tf_slim as slim

from trainer import augmentation, schedules
from trainer.config import TrainConfig, TrainerConfig
from trainer.nets import builder, variants


@dataclasses.dataclass(frozen=True)
class TrainingGraph:
    """Handles of a training graph.

    Attributes:
      train_op: runs batch-norm updates, the weight update and then the moving average
        of the weights; its value is the loss.
      loss: scalar float32, cross-entropy plus L2.
      accuracy: scalar float32, share of the batch that is right.
      learning_rate: scalar float32.
      global_step: int64 variable, updates applied.
      saver: of all variables.
    """

    train_op: tf.Tensor
    loss: tf.Tensor
    accuracy: tf.Tensor
    learning_rate: tf.Tensor
    global_step: tf.Variable
    saver: v1.train.Saver


@dataclasses.dataclass(frozen=True)
class InferenceGraph:
    """Handles of an inference graph.

    Attributes:
      logits: float32 [batch, num_classes].
      probabilities: float32 [batch, num_classes].
      savers: how to restore it, by the kind of weights: 'raw', and 'ema' where the
        training keeps moving averages.
    """

    logits: tf.Tensor
    probabilities: tf.Tensor
    savers: dict[str, v1.train.Saver]


def build_training(
    images: tf.Tensor,
    labels: tf.Tensor,
    num_classes: int,
    config: TrainerConfig,
    *,
    total_steps: int,
    steps_per_epoch: int,
) -> TrainingGraph:
    """Loss, update and moving average in the default graph.

    Args:
      images: float32 [batch, image_size_px, image_size_px, channels], augmented.
      labels: int64 [batch].
      num_classes: width of the logits.
      config: the Trainer's configuration.
      total_steps: updates of the whole training; the schedule ends there.
      steps_per_epoch: updates an epoch; warm-up is given in epochs.
    """
    train = config.train
    global_step = v1.train.get_or_create_global_step()
    logits, _ = builder.build(
        variants.spec_of(config.model),
        images,
        num_classes,
        is_training=True,
        weight_decay=train.weight_decay,
        seed=tf.stack([tf.constant(train.seed, tf.int64), global_step]),
    )
    v1.losses.sparse_softmax_cross_entropy(labels, logits)
    loss = v1.losses.get_total_loss()
    rate = _learning_rate(train, global_step, total_steps, steps_per_epoch)
    # Adds the updates of UPDATE_OPS as control dependencies of the gradients.
    update = slim.learning.create_train_op(
        loss, _optimizer(train, rate), global_step=global_step, check_numerics=False
    )
    if train.ema_decay:
        with tf.control_dependencies([update]):
            average = moving_average(train, global_step).apply(averaged_variables())
        with tf.control_dependencies([average]):
            update = tf.identity(update)
    right = tf.equal(tf.argmax(logits, axis=1), labels)
    return TrainingGraph(
        train_op=update,
        loss=loss,
        accuracy=tf.reduce_mean(tf.cast(right, tf.float32)),
        learning_rate=rate,
        global_step=global_step,
        saver=v1.train.Saver(max_to_keep=0),
    )


def build_inference(
    images: tf.Tensor, num_classes: int, config: TrainerConfig
) -> InferenceGraph:
    """Logits and probabilities in the default graph, for evaluation and export.

    Args:
      images: float32 [batch, crop_px, crop_px, channels], preprocessed; the net sees the
        centre where it takes smaller ones.
      num_classes: width of the logits.
      config: the Trainer's configuration.
    """
    images = augmentation.central_crop(images, config.image_size_px)
    spec = variants.spec_of(config.model)
    logits, _ = builder.build(spec, images, num_classes, is_training=False)
    variables = averaged_variables()
    savers = {"raw": v1.train.Saver(variables)}
    if config.train.ema_decay:
        average = moving_average(config.train, None)
        savers["ema"] = v1.train.Saver(
            {average.average_name(variable): variable for variable in variables}
        )
    return InferenceGraph(logits, tf.nn.softmax(logits), savers)


def averaged_variables() -> list[tf.Variable]:
    """What the moving average covers: the weights and batch norm's moving statistics.

    The statistics are averaged with the weights so that both lag alike.
    """
    return slim.get_model_variables()


def moving_average(
    train: TrainConfig, global_step: tf.Variable | None
) -> v1.train.ExponentialMovingAverage:
    """Average with the decay min(ema_decay, (1 + step) / (10 + step))."""
    return v1.train.ExponentialMovingAverage(train.ema_decay, num_updates=global_step)


def _learning_rate(
    train: TrainConfig, step: tf.Variable, total_steps: int, steps_per_epoch: int
) -> tf.Tensor:
    if train.schedule == "constant":
        return schedules.constant(step, base_rate=train.learning_rate)
    warmup_steps = round(train.warmup_epochs * steps_per_epoch)
    return schedules.warmup_cosine(
        step,
        base_rate=train.learning_rate,
        warmup_steps=min(warmup_steps, total_steps // 2),
        total_steps=total_steps,
    )


def _optimizer(train: TrainConfig, rate: tf.Tensor) -> v1.train.Optimizer:
    if train.optimizer == "adam":
        return v1.train.AdamOptimizer(rate)
    if train.optimizer == "gradient_descent":
        return v1.train.GradientDescentOptimizer(rate)
    return v1.train.MomentumOptimizer(
        rate, train.momentum, use_nesterov=train.optimizer == "nesterov"
    )

"""The two graphs of a net, one for training and one for inference, joined by a checkpoint.

Both are built from the same spec, inside a `tf.Graph` of the caller; `is_training` is a
Python bool, never a tensor.
"""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
import tensorflow as tf
import tensorflow.compat.v1 as v1
import tf_slim as slim

from trainer import (
    averages,
    devices,
    gradients,
    losses,
    microbatches,
    optimizers,
    test_time,
    warm_start,
    whitening,
)
from trainer.augmentation import geometry, recipe
from trainer.config import TrainerConfig
from trainer.nets import blocks, builder, variants
from trainer.nets.blocks import CLASS_LAYER, NetSpec
from trainer.plan import Plan


@dataclasses.dataclass(frozen=True)
class TrainingGraph:
    """Handles of a training graph.

    Attributes:
      train_op: runs batch-norm updates, the weight update, then Lookahead and the moving
        average of the weights; its value is the loss.
      loss: scalar float32, cross-entropy plus L2.
      accuracy: scalar float32, share of the batch that is right.
      learning_rate: scalar float32 to feed; `train.learning_rate` by default.
      gradient_norm: scalar float32, global norm before clipping.
      global_step: int64 variable, updates applied.
      saver: of all variables.
    """

    train_op: tf.Tensor
    loss: tf.Tensor
    accuracy: tf.Tensor
    learning_rate: tf.Tensor
    gradient_norm: tf.Tensor
    global_step: tf.Variable
    saver: v1.train.Saver


@dataclasses.dataclass(frozen=True)
class InferenceGraph:
    """Handles of an inference graph.

    Attributes:
      logits: float32 [batch, num_classes], of the images as they are.
      probabilities: float32 [batch, num_classes], of the mean logits of all views.
      plain_probabilities: float32 [batch, num_classes], of `logits`; without test-time
        views the same tensor.
      savers: by the kind of weights: 'raw', and 'ema' where the training keeps moving
        averages.
      last_maps: float32 [batch, height, width, channels], output of the last layer with
        more than one position; None where the net has no such layer.
      class_weights: float32 [channels, num_classes], weights of the class layer, where
        only global pooling (and dropout) is between `last_maps` and that layer; else None.
    """

    logits: tf.Tensor
    probabilities: tf.Tensor
    plain_probabilities: tf.Tensor
    savers: dict[str, v1.train.Saver]
    last_maps: tf.Tensor | None
    class_weights: tf.Tensor | None


def build_training(
    images: tf.Tensor,
    labels: tf.Tensor,
    num_classes: int,
    config: TrainerConfig,
    towers: Sequence[str] = ("",),
    class_weights: np.ndarray | None = None,
    *,
    start: warm_start.Start | None = None,
    is_loss_scaled: bool = False,
    plan: Plan | None = None,
) -> TrainingGraph:
    """Loss, update and moving average in the default graph.

    Args:
      images: float32 [batch, image_size_px, image_size_px, channels], augmented.
      labels: int64 [batch], or of mixed images targets, float32 [batch, num_classes].
      towers: devices among which the batch is shared (`trainer.devices`).
      class_weights: weight of an image of each class, float32 [num_classes]; None for
        equal ones.
      start: where the variables get their first values; None: from `train.weights`.
      is_loss_scaled: for float16, whose gradients would vanish otherwise.
      plan: length of the training; Lookahead needs it.
    """
    train = config.train
    with v1.device(devices.VARIABLES_DEVICE if any(towers) else None):
        global_step = v1.train.get_or_create_global_step()
    parts = microbatches.split(images, labels, train.accumulate_steps)
    logits: list[tf.Tensor] = []

    def build_loss() -> tf.Tensor:
        number = len(logits)
        part, part_labels = parts[number]
        with gradients.for_hardware(train):
            logits.append(
                _towers(part, num_classes, config, global_step, towers, number)
            )
        v1.get_default_graph().clear_collection(v1.GraphKeys.LOSSES)
        losses.cross_entropy(
            part_labels, logits[-1], train.label_smoothing, class_weights
        )
        return optimizers.total_loss(train)

    loss = build_loss()
    if start is None:
        start = warm_start.start_of(train)
    if start.checkpoint:
        # Before the averages, which start with the values of their variables.
        warm_start.initialise(slim.get_model_variables(), start)
    whitened = whitening.layer_of(config)
    rate = v1.placeholder_with_default(
        tf.constant(train.learning_rate, tf.float32), [], name="fed_learning_rate"
    )
    update = optimizers.train_op(
        loss,
        train,
        rate,
        global_step,
        later=[build_loss] * (train.accumulate_steps - 1),
        fixed=[whitened.weights] if whitened else [],
        is_loss_scaled=is_loss_scaled,
    )
    train_op = averages.after(update.op, train, plan, global_step, update.is_applied)
    all_logits = logits[0] if len(logits) == 1 else tf.concat(logits, axis=0)
    right = tf.equal(tf.argmax(all_logits, axis=1), losses.main_class(labels))
    return TrainingGraph(
        train_op=train_op,
        loss=update.loss,
        accuracy=tf.reduce_mean(tf.cast(right, tf.float32)),
        learning_rate=rate,
        gradient_norm=update.gradient_norm,
        global_step=global_step,
        saver=v1.train.Saver(max_to_keep=0),
    )


def _towers(
    images: tf.Tensor,
    num_classes: int,
    config: TrainerConfig,
    global_step: tf.Variable,
    towers: Sequence[str],
    microbatch: int = 0,
) -> tf.Tensor:
    """Logits of a whole batch or microbatch, each tower's part computed on its device.

    The loss is a mean over the batch, so its gradient is the mean of the towers'. One
    update applies it to the variables they share. Each tower normalises by its own part of
    the batch; the first one's statistics go into the moving averages.
    """
    logits = []
    updates: list[tf.Operation] = []
    graph = v1.get_default_graph()
    first = microbatch * len(towers)
    for number, part in enumerate(tf.split(images, len(towers)), first):
        with (
            v1.device(devices.place(towers[number - first])),
            v1.variable_scope(v1.get_variable_scope(), reuse=number > 0),
        ):
            seed = tf.constant(config.train.seed + number, tf.int64)
            tower_logits, _ = builder.build(
                variants.spec_of(config.model),
                part,
                num_classes,
                is_training=True,
                weight_decay=config.train.weight_decay,
                seed=tf.stack([seed, global_step]),
                frozen=_rows_without_statistics(config),
            )
        logits.append(tower_logits)
        updates = updates or graph.get_collection(v1.GraphKeys.UPDATE_OPS)
    graph.clear_collection(v1.GraphKeys.UPDATE_OPS)
    for update in updates:
        v1.add_to_collection(v1.GraphKeys.UPDATE_OPS, update)
    return tf.concat(logits, axis=0)


def _rows_without_statistics(config: TrainerConfig) -> Sequence[str]:
    """Rows whose batch norm keeps the statistics it has."""
    if not config.train.freeze_batch_norm:
        return config.train.freeze
    spec = variants.spec_of(config.model)
    return [name for name, _ in blocks.named(spec.blocks)]


def build_inference(
    images: tf.Tensor,
    num_classes: int,
    config: TrainerConfig,
    *,
    norm_by_batch: bool = False,
    test_time_views: str = test_time.NONE,
) -> InferenceGraph:
    """Logits and probabilities in the default graph, for evaluation and export.

    Args:
      images: float32 [batch, crop_px, crop_px, channels], preprocessed; the net sees the
        centre where it takes smaller ones.
      norm_by_batch: batch norm takes the statistics of the batch; for comparison only.
      test_time_views: `kind` of `test_time.weighted_views`, for the probabilities.
    """
    images = geometry.central_crop(images, config.image_size_px)
    spec = variants.spec_of(config.model)
    logits, end_points = builder.build(
        spec, images, num_classes, is_training=False, norm_by_batch=norm_by_batch
    )
    plain_probabilities = probabilities = tf.nn.softmax(logits)
    if test_time_views != test_time.NONE:
        mean_logits = _mean_logits(logits, images, num_classes, config, test_time_views)
        probabilities = tf.nn.softmax(mean_logits)
    variables = averages.averaged_variables()
    savers = {"raw": v1.train.Saver(variables)}
    if config.train.ema_decay:
        average = averages.moving_average(config.train, None)
        savers["ema"] = v1.train.Saver(
            {average.average_name(variable): variable for variable in variables}
        )
    maps_layer = _last_maps_layer(end_points)
    return InferenceGraph(
        logits=logits,
        probabilities=probabilities,
        plain_probabilities=plain_probabilities,
        savers=savers,
        last_maps=end_points[maps_layer] if maps_layer else None,
        class_weights=_class_weights(spec, maps_layer),
    )


def _mean_logits(
    logits: tf.Tensor,
    images: tf.Tensor,
    num_classes: int,
    config: TrainerConfig,
    test_time_views: str,
) -> tf.Tensor:
    """Weighted mean of the `logits` of the images and those of their other views.

    The images have a pass through the net of their own, so that a request for them alone
    does not compute the others.
    """
    (_, *others), weights = test_time.weighted_views(images, test_time_views)
    with v1.variable_scope(v1.get_variable_scope(), reuse=True):
        other_logits, _ = builder.build(
            variants.spec_of(config.model),
            tf.concat(others, axis=0),
            num_classes,
            is_training=False,
        )
    by_view = [logits, *tf.split(other_logits, len(others))]
    return tf.add_n([w * each for w, each in zip(weights, by_view, strict=True)])


def _last_maps_layer(end_points: Mapping[str, tf.Tensor]) -> str | None:
    """Name of the last layer with maps of more than one position."""
    found = [
        name
        for name, outputs in end_points.items()
        if outputs.shape.rank == 4 and outputs.shape[1] * outputs.shape[2] > 1
    ]
    return found[-1] if found else None


def _class_weights(spec: NetSpec, maps_layer: str | None) -> tf.Tensor | None:
    """Weights of the class layer if it reads the means of the maps and nothing else."""
    layers = dict(blocks.named(spec.blocks))
    if maps_layer is None:
        return None
    behind = list(layers.values())[list(layers).index(maps_layer) + 1 :]
    kinds = [type(block) for block in behind if not isinstance(block, blocks.Dropout)]
    if kinds != [blocks.GlobalPool]:
        return None
    return slim.get_unique_variable(f"{spec.name}/{CLASS_LAYER}/weights")


def build_features(
    images: tf.Tensor, seed: tf.Tensor, config: TrainerConfig
) -> tuple[tf.Tensor, tf.Tensor, list[tf.Variable]]:
    """Inputs of the class layer, in the default graph and in inference mode.

    Args:
      images: float32 [batch, crop_px, crop_px, channels], preprocessed.
      seed: integers [2], of the augmented view.

    Returns:
      Features, float32 [batch, units], of the images as evaluation sees them and of a view
      of them, augmented as in training but not mixed; and the variables both depend on.
    """
    spec = variants.spec_of(config.model)
    features: list[tf.Tensor] = []
    for inputs in (
        geometry.central_crop(images, config.image_size_px),
        recipe.apply(images, recipe.steps_of(config), seed),
    ):
        with v1.variable_scope(v1.get_variable_scope(), reuse=bool(features)):
            # Any number of classes: their layer is behind what is asked for.
            _, end_points = builder.build(spec, inputs, 2, is_training=False)
        *_, last, _ = end_points.values()
        features.append(last)
    variables = [
        variable
        for variable in slim.get_model_variables()
        if not warm_start.is_under(variable.op.name, [CLASS_LAYER])
    ]
    return features[0], features[1], variables

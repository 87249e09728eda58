"""Builds the graph of a net from its table, with tf-slim layers."""

from collections.abc import Sequence
from typing import Any

import tensorflow as tf
import tf_slim as slim

from common import errors
from trainer import layers
from trainer.nets.blocks import CLASS_LAYER, NetSpec, named
from trainer.nets.geometry import check_image_size, check_rows, is_row_of
from trainer.nets.slim_layers import SlimLayers, default_scope


def build(
    spec: NetSpec,
    images: tf.Tensor,
    num_classes: int,
    is_training: bool,
    weight_decay: float = 0.0,
    seed: tf.Tensor | None = None,
    norm_by_batch: bool = False,
    frozen: Sequence[str] = (),
) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
    """Adds the net to the current graph, under a variable scope of its name.

    Training and inference graphs have the same variables. In training, batch norm uses the
    batch and adds its update ops to `UPDATE_OPS`, and dropout is on. L2 losses are in
    `REGULARIZATION_LOSSES`: `weight_decay` times half the sum of squares of each regularised
    weight.

    Args:
      spec: the table.
      images: float32 [batch, height, width, channels]; all but the batch static.
      num_classes: at least 2.
      is_training: Python bool.
      weight_decay: factor of the L2 loss, 0 for none.
      seed: integers [2], for dropout: another pair in each step, the same in a repeated one.
        None draws a pair from the seed of the graph.
      norm_by_batch: batch norm takes the statistics of the batch in inference too, to
        examine a training; not for predictions.
      frozen: rows, or groups of rows (the part of their names before a slash), whose batch
        norm is that of inference in training too.

    Returns:
      Logits, float32 [batch, num_classes], linear: the loss or the served signature applies
      the softmax, once. And the end points: row name -> tensor behind that row, with
      'logits' last.

    Raises:
      ConfigError: images too small for the net, fewer than 2 classes, or a negative
        `weight_decay`.
      TypeError: `is_training` is not a Python bool.
      ValueError: `images` has no static height, width and channels.
    """
    _check(spec, images, num_classes, is_training, weight_decay)
    check_rows(spec, frozen)
    slim_layers = SlimLayers(spec.defaults, weight_decay)
    if is_training and seed is None:
        seed = tf.random.uniform([2], maxval=tf.int64.max, dtype=tf.int64)
    end_points: dict[str, tf.Tensor] = {}
    with (
        tf.compat.v1.variable_scope(spec.name),
        slim.arg_scope(default_scope(spec.defaults, is_training, seed, norm_by_batch)),
    ):
        outputs = images
        for name, block in named(spec.blocks):
            with slim.arg_scope(_norm_scope(name, frozen)):
                outputs = block.add(slim_layers, outputs, name)
            end_points[name] = outputs
        logits = spec.logits(num_classes).add(slim_layers, outputs, CLASS_LAYER)
    end_points[CLASS_LAYER] = logits
    return logits, end_points


def count_parameters(
    spec: NetSpec,
    num_classes: int | None = None,
    *,
    image_size_px: int | None = None,
    channels: int | None = None,
) -> int:
    """Trainable parameters of the net; see `variables`."""
    return sum(
        variable.shape.num_elements()
        for variable in variables(spec, num_classes, image_size_px, channels)
        if variable.trainable
    )


def variables(
    spec: NetSpec,
    num_classes: int | None = None,
    image_size_px: int | None = None,
    channels: int | None = None,
) -> list[tf.Variable]:
    """Variables of the net in a graph of its own, in order; the reference's by default."""
    size_px = image_size_px or spec.image_size_px
    with tf.Graph().as_default():
        images = tf.zeros([1, size_px, size_px, channels or spec.channels])
        build(spec, images, num_classes or spec.num_classes, is_training=False)
        return slim.get_model_variables()


def _norm_scope(name: str, frozen: Sequence[str]) -> dict[str, Any]:
    """The arg scope of a row: of a frozen one, batch norm is that of inference."""
    arguments = {"is_training": False} if is_row_of(name, frozen) else {}
    with slim.arg_scope([layers.batch_norm], **arguments) as scope:
        return scope


def _check(
    spec: NetSpec,
    images: tf.Tensor,
    num_classes: int,
    is_training: bool,
    weight_decay: float,
) -> None:
    if not isinstance(is_training, bool):
        raise TypeError(
            f"`is_training` must be a Python bool. Received {is_training!r}."
        )
    if images.shape.rank != 4 or not images.shape[1:].is_fully_defined():
        raise ValueError(
            "`images` must be [batch, height, width, channels], all but the batch static. "
            f"Received shape {images.shape}."
        )
    if num_classes < 2:
        raise errors.ConfigError(
            f"the net {spec.name!r} needs at least two classes to tell apart",
            found=f"num_classes={num_classes}",
            expected="2 or more",
            tip="check the labels of the data set",
        )
    if weight_decay < 0:
        raise errors.ConfigError(
            "weight decay must not be negative",
            found=f"weight_decay={weight_decay}",
            expected="0 or more",
        )
    check_image_size(spec, images.shape[1], images.shape[2])

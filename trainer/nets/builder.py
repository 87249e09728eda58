"""Folds the table of a net into a graph of tf-slim layers.

One function per block type, chosen by `_apply`; a new block needs its dataclass in
`blocks.py` and its function here.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import singledispatch
from typing import Any

import tensorflow as tf
import tf_slim as slim

from schema import errors
from trainer import layers
from trainer.nets import blocks
from trainer.nets.blocks import NetSpec
from trainer.nets.geometry import check_image_size, layer_rows, smallest_input_px

__all__ = ["build", "count_parameters", "layer_rows", "smallest_input_px"]

ACTIVATIONS: dict[str, Callable[[tf.Tensor], tf.Tensor] | None] = {
    "relu": tf.nn.relu,
    "sigmoid": tf.nn.sigmoid,
    "linear": None,
}


@dataclass(frozen=True)
class _Context:
    """What a block's function must know besides the arg scope."""

    defaults: blocks.Defaults
    weight_decay: float


def build(
    spec: NetSpec,
    images: tf.Tensor,
    num_classes: int,
    is_training: bool,
    weight_decay: float = 0.0,
) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
    """Adds the net to the current graph, under a variable scope of its name.

    Training and inference graphs have the same variables. In training, batch norm uses the
    batch and puts its update ops into `UPDATE_OPS`, and dropout is on. L2 losses, where
    asked for, are in `REGULARIZATION_LOSSES`: `weight_decay` times half the sum of squares
    of each regularised weight.

    Args:
      spec: the table.
      images: float32 [batch, height, width, channels]; all but the batch static.
      num_classes: at least 2.
      is_training: Python bool.
      weight_decay: factor of the L2 loss, 0 for none.

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
    context = _Context(spec.defaults, weight_decay)
    end_points: dict[str, tf.Tensor] = {}
    with (
        tf.compat.v1.variable_scope(spec.name),
        slim.arg_scope(_default_scope(context, is_training)),
    ):
        outputs = images
        for name, block in blocks.named(spec.blocks):
            outputs = _apply(block, outputs, name, context)
            end_points[name] = outputs
        logits = slim.fully_connected(
            outputs,
            num_classes,
            activation_fn=None,
            normalizer_fn=None,
            biases_initializer=tf.compat.v1.constant_initializer(spec.head.bias),
            scope="logits",
            **_weight_arguments(spec.head.weight_init, spec.head.regularised, context),
        )
    end_points["logits"] = logits
    return logits, end_points


def count_parameters(
    spec: NetSpec,
    num_classes: int | None = None,
    *,
    image_size_px: int | None = None,
    channels: int | None = None,
) -> int:
    """Trainable parameters of the net, counted in a graph of its own; reference defaults."""
    size_px = spec.image_size_px if image_size_px is None else image_size_px
    depth = spec.channels if channels is None else channels
    with tf.Graph().as_default():
        build(
            spec,
            tf.zeros([1, size_px, size_px, depth]),
            spec.num_classes if num_classes is None else num_classes,
            is_training=False,
        )
        return sum(
            variable.shape.num_elements()
            for variable in tf.compat.v1.trainable_variables()
        )


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


def _default_scope(context: _Context, is_training: bool) -> dict[str, Any]:
    defaults = context.defaults
    with (
        slim.arg_scope(
            [slim.conv2d, slim.separable_conv2d, slim.fully_connected],
            activation_fn=ACTIVATIONS[defaults.activation],
            **_weight_arguments(defaults.weight_init, defaults.regularised, context),
            **_norm_arguments(defaults.norm, defaults.bias),
        ),
        slim.arg_scope(
            [layers.batch_norm],
            is_training=is_training,
            decay=defaults.norm_decay,
            epsilon=defaults.norm_epsilon,
            scale=defaults.norm_scale,
        ),
        slim.arg_scope([slim.dropout], is_training=is_training) as scope,
    ):
        return scope


def _weight_arguments(
    weight_init: blocks.WeightInit | None, regularised: bool | None, context: _Context
) -> dict[str, Any]:
    """Arguments a block sets against the arg scope; nothing where it takes the default."""
    arguments: dict[str, Any] = {}
    if weight_init is not None:
        arguments["weights_initializer"] = _initializer(weight_init)
    if regularised is not None:
        arguments["weights_regularizer"] = (
            slim.l2_regularizer(context.weight_decay)
            if regularised and context.weight_decay > 0
            else None
        )
    return arguments


def _norm_arguments(norm: bool, bias: bool | None) -> dict[str, Any]:
    has_bias = not norm if bias is None else bias
    # slim leaves the bias out wherever there is a normalizer, hence the third function.
    normalizer = layers.bias_batch_norm if has_bias else layers.batch_norm
    return {
        "normalizer_fn": normalizer if norm else None,
        "biases_initializer": tf.compat.v1.zeros_initializer() if has_bias else None,
    }


def _arguments(block: blocks.Weighted, context: _Context) -> dict[str, Any]:
    arguments = _weight_arguments(block.weight_init, block.regularised, context)
    if block.activation is not None:
        arguments["activation_fn"] = ACTIVATIONS[block.activation]
    if block.norm is not None or block.bias is not None:
        defaults = context.defaults
        norm = defaults.norm if block.norm is None else block.norm
        bias = defaults.bias if block.bias is None else block.bias
        arguments.update(_norm_arguments(norm, bias))
    return arguments


def _initializer(weight_init: blocks.WeightInit) -> Callable[..., tf.Tensor]:
    if weight_init.kind == "truncated_normal":
        return tf.compat.v1.truncated_normal_initializer(stddev=weight_init.stddev)
    if weight_init.kind == "he_normal":
        return tf.compat.v1.variance_scaling_initializer(2.0, "fan_in")
    return slim.xavier_initializer()


def _fold(
    table: tuple[blocks.Block, ...], inputs: tf.Tensor, context: _Context
) -> tf.Tensor:
    for name, block in blocks.named(table):
        inputs = _apply(block, inputs, name, context)
    return inputs


@singledispatch
def _apply(
    block: blocks.Block, inputs: tf.Tensor, scope: str, context: _Context
) -> tf.Tensor:
    raise TypeError(f"the builder has no function for blocks of {type(block)}")


@_apply.register
def _conv(
    block: blocks.Conv, inputs: tf.Tensor, scope: str, context: _Context
) -> tf.Tensor:
    padding = block.padding
    if isinstance(padding, int):
        inputs = tf.pad(inputs, [[0, 0], [padding] * 2, [padding] * 2, [0, 0]])
        padding = "VALID"
    return slim.conv2d(
        inputs,
        block.filters,
        blocks.kernel_sides(block.kernel),
        stride=block.stride,
        padding=padding,
        scope=scope,
        **_arguments(block, context),
    )


@_apply.register
def _separable_conv(
    block: blocks.SeparableConv, inputs: tf.Tensor, scope: str, context: _Context
) -> tf.Tensor:
    return slim.separable_conv2d(
        inputs,
        block.filters,
        blocks.kernel_sides(block.kernel),
        depth_multiplier=block.depth_multiplier,
        stride=block.stride,
        padding=block.padding,
        scope=scope,
        **_arguments(block, context),
    )


@_apply.register
def _pool(
    block: blocks.Pool, inputs: tf.Tensor, scope: str, context: _Context
) -> tf.Tensor:
    pool = slim.max_pool2d if block.kind == "max" else slim.avg_pool2d
    return pool(
        inputs,
        blocks.kernel_sides(block.kernel),
        stride=block.stride,
        padding=block.padding,
        scope=scope,
    )


@_apply.register
def _mixed(
    block: blocks.Mixed, inputs: tf.Tensor, scope: str, context: _Context
) -> tf.Tensor:
    outputs = []
    with tf.compat.v1.variable_scope(scope):
        for place, branch in enumerate(block.branches, 1):
            with tf.compat.v1.variable_scope(f"branch_{place}"):
                outputs.append(_fold(branch, inputs, context))
        return tf.concat(outputs, axis=3)


@_apply.register
def _residual(
    block: blocks.Residual, inputs: tf.Tensor, scope: str, context: _Context
) -> tf.Tensor:
    with tf.compat.v1.variable_scope(scope):
        body = _fold(block.body, inputs, context)
        if block.shortcut == "projection":
            convolution = blocks.Conv(
                body.shape[3], 1, stride=block.stride, activation="linear"
            )
            shortcut = _apply(convolution, inputs, "shortcut", context)
        else:
            shortcut = _padded_identity(block, inputs, body.shape[3])
        activation = ACTIVATIONS[block.activation or context.defaults.activation]
        outputs = body + shortcut
        return outputs if activation is None else activation(outputs)


def _padded_identity(
    block: blocks.Residual, inputs: tf.Tensor, channels: int
) -> tf.Tensor:
    if block.stride > 1:
        inputs = inputs[:, :: block.stride, :: block.stride, :]
    missing = channels - inputs.shape[3]
    if not missing:
        return inputs
    before = missing // 2 if block.shortcut == "pad_symmetric" else 0
    return tf.pad(inputs, [[0, 0], [0, 0], [0, 0], [before, missing - before]])


@_apply.register
def _global_pool(
    block: blocks.GlobalPool, inputs: tf.Tensor, scope: str, context: _Context
) -> tf.Tensor:
    return tf.reduce_mean(inputs, axis=[1, 2], name=scope)


@_apply.register
def _flatten(
    block: blocks.Flatten, inputs: tf.Tensor, scope: str, context: _Context
) -> tf.Tensor:
    return slim.flatten(inputs, scope=scope)


@_apply.register
def _dense(
    block: blocks.Dense, inputs: tf.Tensor, scope: str, context: _Context
) -> tf.Tensor:
    return slim.fully_connected(
        inputs, block.units, scope=scope, **_arguments(block, context)
    )


@_apply.register
def _dropout(
    block: blocks.Dropout, inputs: tf.Tensor, scope: str, context: _Context
) -> tf.Tensor:
    noise_shape = None
    if block.spatial:
        noise_shape = [tf.shape(inputs)[0], 1, 1, inputs.shape[3]]
    return slim.dropout(inputs, block.keep_prob, noise_shape=noise_shape, scope=scope)


@_apply.register
def _batch_norm(
    block: blocks.BatchNorm, inputs: tf.Tensor, scope: str, context: _Context
) -> tf.Tensor:
    return layers.batch_norm(inputs, scope=scope)


@_apply.register
def _activate(
    block: blocks.Activate, inputs: tf.Tensor, scope: str, context: _Context
) -> tf.Tensor:
    activation = ACTIVATIONS[block.kind]
    return inputs if activation is None else activation(inputs)

"""What each block of a table adds to the graph: one function per block type.

`apply` chooses it; a new block needs its dataclass in `blocks.py`, its cost in `cost.py`
and its function here.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial, singledispatch
from typing import Any

import tensorflow as tf
import tf_slim as slim

from trainer import layers
from trainer.nets import blocks

# Slope of the leaky ReLU below zero: that of the system whose nets use it.
LEAKY_SLOPE = 0.02

ACTIVATIONS: dict[str, Callable[[tf.Tensor], tf.Tensor] | None] = {
    "relu": tf.nn.relu,
    "leaky_relu": partial(tf.nn.leaky_relu, alpha=LEAKY_SLOPE),
    "sigmoid": tf.nn.sigmoid,
    "tanh": tf.nn.tanh,
    "linear": None,
}

CONVOLUTIONS = {"conv2d": slim.conv2d, "im2col": layers.im2col_conv2d}


@dataclass(frozen=True)
class Context:
    """What a block's function must know besides the arg scope."""

    defaults: blocks.Defaults
    weight_decay: float


def default_scope(
    context: Context,
    is_training: bool,
    seed: tf.Tensor | None,
    norm_by_batch: bool = False,
) -> dict[str, Any]:
    """The arg scope of a net: what its blocks do where they say nothing else."""
    defaults = context.defaults
    with (
        slim.arg_scope(
            [*CONVOLUTIONS.values(), slim.separable_conv2d, slim.fully_connected],
            activation_fn=ACTIVATIONS[defaults.activation],
            **weight_arguments(defaults.weight_init, defaults.regularised, context),
            **_norm_arguments(defaults.norm, defaults.bias),
        ),
        slim.arg_scope(
            [layers.batch_norm],
            is_training=is_training or norm_by_batch,
            decay=defaults.norm_decay,
            epsilon=defaults.norm_epsilon,
            scale=defaults.norm_scale,
        ),
        slim.arg_scope([layers.dropout], is_training=is_training, seed=seed) as scope,
    ):
        return scope


def weight_arguments(
    weight_init: blocks.WeightInit | None, regularised: bool | None, context: Context
) -> dict[str, Any]:
    """Arguments a block sets against the arg scope; nothing where it takes the default."""
    arguments: dict[str, Any] = {}
    if weight_init is not None:
        arguments["weights_initializer"] = _initializer(weight_init)
    if regularised is not None:
        arguments["weights_regularizer"] = (
            layers.l2_regularizer(context.weight_decay)
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


def _arguments(block: blocks.Weighted, context: Context) -> dict[str, Any]:
    arguments = weight_arguments(block.weight_init, block.regularised, context)
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
    table: tuple[blocks.Block, ...], inputs: tf.Tensor, context: Context
) -> tf.Tensor:
    for name, block in blocks.named(table):
        inputs = apply(block, inputs, name, context)
    return inputs


@singledispatch
def apply(
    block: blocks.Block, inputs: tf.Tensor, scope: str, context: Context
) -> tf.Tensor:
    """Adds `block` under `scope`; returns float32 [batch, *block.output_shape(...)]."""
    raise TypeError(f"there is no function for blocks of {type(block)}")


@apply.register
def _conv(
    block: blocks.Conv, inputs: tf.Tensor, scope: str, context: Context
) -> tf.Tensor:
    padding = block.padding
    if isinstance(padding, int):
        inputs = tf.pad(inputs, [[0, 0], [padding] * 2, [padding] * 2, [0, 0]])
        padding = "VALID"
    return CONVOLUTIONS[context.defaults.conv_impl](
        inputs,
        block.filters,
        blocks.kernel_sides(block.kernel),
        stride=block.stride,
        padding=padding,
        scope=scope,
        **_arguments(block, context),
    )


@apply.register
def _separable_conv(
    block: blocks.SeparableConv, inputs: tf.Tensor, scope: str, context: Context
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


@apply.register
def _pool(
    block: blocks.Pool, inputs: tf.Tensor, scope: str, context: Context
) -> tf.Tensor:
    pool = slim.max_pool2d if block.kind == "max" else slim.avg_pool2d
    return pool(
        inputs,
        blocks.kernel_sides(block.kernel),
        stride=block.stride,
        padding=block.padding,
        scope=scope,
    )


@apply.register
def _mixed(
    block: blocks.Mixed, inputs: tf.Tensor, scope: str, context: Context
) -> tf.Tensor:
    outputs = []
    with tf.compat.v1.variable_scope(scope):
        for place, branch in enumerate(block.branches, 1):
            with tf.compat.v1.variable_scope(f"branch_{place}"):
                outputs.append(_fold(branch, inputs, context))
        return tf.concat(outputs, axis=3)


@apply.register
def _residual(
    block: blocks.Residual, inputs: tf.Tensor, scope: str, context: Context
) -> tf.Tensor:
    with tf.compat.v1.variable_scope(scope):
        body = _fold(block.body, inputs, context)
        if block.shortcut == "projection":
            convolution = blocks.Conv(
                body.shape[3], 1, stride=block.stride, activation="linear"
            )
            shortcut = apply(convolution, inputs, "shortcut", context)
        else:
            shortcut = _padded_identity(block, inputs, body.shape[3])
        activation = ACTIVATIONS[block.activation or context.defaults.activation]
        scale = context.defaults.residual_scale
        outputs = shortcut + (body if scale == 1 else scale * body)
        return outputs if activation is None else activation(outputs)


def _padded_identity(
    block: blocks.Residual, inputs: tf.Tensor, channels: int
) -> tf.Tensor:
    if block.stride > 1:
        # The px of a strided slice; its kernels for bfloat16 take ten times as long.
        inputs = tf.nn.max_pool2d(inputs, 1, block.stride, "SAME")
    missing = channels - inputs.shape[3]
    if not missing:
        return inputs
    before = missing // 2 if block.shortcut == "pad_symmetric" else 0
    return tf.pad(inputs, [[0, 0], [0, 0], [0, 0], [before, missing - before]])


@apply.register
def _global_pool(
    block: blocks.GlobalPool, inputs: tf.Tensor, scope: str, context: Context
) -> tf.Tensor:
    return tf.reduce_mean(inputs, axis=[1, 2], name=scope)


@apply.register
def _flatten(
    block: blocks.Flatten, inputs: tf.Tensor, scope: str, context: Context
) -> tf.Tensor:
    return slim.flatten(inputs, scope=scope)


@apply.register
def _dense(
    block: blocks.Dense, inputs: tf.Tensor, scope: str, context: Context
) -> tf.Tensor:
    return slim.fully_connected(
        inputs, block.units, scope=scope, **_arguments(block, context)
    )


@apply.register
def _dropout(
    block: blocks.Dropout, inputs: tf.Tensor, scope: str, context: Context
) -> tf.Tensor:
    return layers.dropout(
        inputs, block.keep_prob, is_spatial=block.spatial, scope=scope
    )


@apply.register
def _batch_norm(
    block: blocks.BatchNorm, inputs: tf.Tensor, scope: str, context: Context
) -> tf.Tensor:
    return layers.batch_norm(inputs, scope=scope)


@apply.register
def _activate(
    block: blocks.Activate, inputs: tf.Tensor, scope: str, context: Context
) -> tf.Tensor:
    activation = ACTIVATIONS[block.kind]
    return inputs if activation is None else activation(inputs)

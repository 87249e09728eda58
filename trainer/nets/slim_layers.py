"""Interprets the blocks of nets as tf-slim layers of a graph."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import partial
from math import prod
from typing import Any, Literal

import tensorflow as tf
import tensorflow.compat.v1 as v1
import tf_slim as slim

from trainer import fused, layers
from trainer.nets import primitives
from trainer.nets.primitives import Defaults, Settings, Shape, WeightInit, Window

ACTIVATIONS: dict[str, Callable[[tf.Tensor], tf.Tensor] | None] = {
    "relu": tf.nn.relu,
    "relu6": tf.nn.relu6,
    "leaky_relu": partial(tf.nn.leaky_relu, alpha=primitives.LEAKY_SLOPE),
    "sigmoid": tf.nn.sigmoid,
    "hard_sigmoid": layers.hard_sigmoid,
    # tf.nn.silu brings a function of its own into the graph.
    "swish": partial(fused.activation, function=lambda x: x * tf.nn.sigmoid(x)),
    "hard_swish": partial(
        fused.activation, function=lambda x: x * layers.hard_sigmoid(x)
    ),
    "gelu": partial(fused.activation, function=tf.nn.gelu),
    "tanh": tf.nn.tanh,
    "linear": None,
}

CONVOLUTIONS = {"conv2d": slim.conv2d, "im2col": layers.im2col_conv2d}


def default_scope(
    defaults: Defaults,
    is_training: bool,
    seed: tf.Tensor | None,
    norm_by_batch: bool = False,
) -> dict[str, Any]:
    """The arg scope of a net, with the arguments of its batch norm and dropout."""
    with (
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


class SlimLayers(primitives.Layers[tf.Tensor]):
    """Adds to the current graph, within `default_scope`."""

    def __init__(self, defaults: Defaults, weight_decay: float) -> None:
        super().__init__(defaults)
        self._weight_decay = weight_decay

    def scope(self, name: str) -> AbstractContextManager[object]:
        return v1.variable_scope(name)

    def shape(self, inputs: tf.Tensor) -> Shape:
        return tuple(inputs.shape.as_list()[1:])

    def conv(
        self,
        inputs: tf.Tensor,
        filters: int,
        window: Window,
        settings: Settings,
        name: str,
    ) -> tf.Tensor:
        convolve = CONVOLUTIONS[self.defaults.conv_impl]
        arguments = _windowed(window, name) | self._arguments(settings)
        return convolve(_padded(inputs, window), filters, **arguments)

    def depthwise_conv(
        self,
        inputs: tf.Tensor,
        multiplier: int,
        filters: int | None,
        window: Window,
        settings: Settings,
        name: str,
    ) -> tf.Tensor:
        arguments = _windowed(window, name) | self._arguments(settings)
        if filters is None:
            weight_init = self.resolved(settings).weight_init
            arguments["weights_initializer"] = _depthwise_initializer(
                weight_init, prod(window.sides)
            )
        padded = _padded(inputs, window)
        return slim.separable_conv2d(
            padded, filters, depth_multiplier=multiplier, **arguments
        )

    def dense(
        self, inputs: tf.Tensor, units: int, settings: Settings, name: str
    ) -> tf.Tensor:
        return slim.fully_connected(
            inputs, units, scope=name, **self._arguments(settings)
        )

    def batch_norm(
        self, inputs: tf.Tensor, gamma_init: float | None, name: str
    ) -> tf.Tensor:
        return layers.batch_norm(inputs, scope=name, **_factors(gamma_init))

    def activation(self, inputs: tf.Tensor, kind: primitives.Activation) -> tf.Tensor:
        activate = ACTIVATIONS[kind]
        return inputs if activate is None else activate(inputs)

    def pool(
        self, inputs: tf.Tensor, kind: Literal["max", "avg"], window: Window, name: str
    ) -> tf.Tensor:
        pool = slim.max_pool2d if kind == "max" else slim.avg_pool2d
        padded = _padded(inputs, window, inputs.dtype.min)
        return pool(padded, **_windowed(window, name))

    def global_pool(self, inputs: tf.Tensor, keep_dims: bool, name: str) -> tf.Tensor:
        return tf.reduce_mean(inputs, axis=[1, 2], keepdims=keep_dims, name=name)

    def flatten(self, inputs: tf.Tensor, name: str) -> tf.Tensor:
        return slim.flatten(inputs, scope=name)

    def dropout(
        self, inputs: tf.Tensor, keep_prob: float, is_spatial: bool, name: str
    ) -> tf.Tensor:
        return layers.dropout(inputs, keep_prob, is_spatial=is_spatial, scope=name)

    def subsample(self, inputs: tf.Tensor, stride: int) -> tf.Tensor:
        # The px of a strided slice; its kernels for bfloat16 take ten times as long.
        return tf.nn.max_pool2d(inputs, 1, stride, "SAME")

    def pad_channels(self, inputs: tf.Tensor, before: int, behind: int) -> tf.Tensor:
        return tf.pad(inputs, [[0, 0], [0, 0], [0, 0], [before, behind]])

    def concat(self, inputs: Sequence[tf.Tensor]) -> tf.Tensor:
        return tf.concat(inputs, axis=3)

    def add(self, shortcut: tf.Tensor, body: tf.Tensor, scale: float) -> tf.Tensor:
        return shortcut + (body if scale == 1 else scale * body)

    def multiply(self, inputs: tf.Tensor, factors: tf.Tensor) -> tf.Tensor:
        return inputs * factors

    def scale(self, inputs: tf.Tensor, factor: float) -> tf.Tensor:
        return inputs * factor

    def _arguments(self, settings: Settings) -> dict[str, Any]:
        """Arguments of a slim layer with weights."""
        resolved = self.resolved(settings)
        arguments = {
            "activation_fn": ACTIVATIONS[resolved.activation],
            "weights_initializer": _initializer(resolved.weight_init),
            "weights_regularizer": layers.l2_regularizer(self._weight_decay)
            if resolved.regularised and self._weight_decay > 0
            else None,
            "biases_initializer": _bias_initializer(resolved.bias_init)
            if resolved.bias
            else None,
            "normalizer_fn": None,
        }
        if resolved.norm:
            # slim leaves the bias out wherever there is a normalizer.
            normalizer = layers.bias_batch_norm if resolved.bias else layers.batch_norm
            factors = _factors(resolved.gamma_init)
            arguments["normalizer_fn"] = partial(normalizer, **factors)
        return arguments


def _windowed(window: Window, name: str) -> dict[str, Any]:
    """Arguments of a slim layer with a window."""
    return {
        "kernel_size": window.sides,
        "stride": window.stride,
        "padding": window.scheme,
        "scope": name,
    }


def _padded(inputs: tf.Tensor, window: Window, value: float = 0.0) -> tf.Tensor:
    """`inputs` with the margins of `window` around the maps, filled with `value`."""
    if window.margins is None:
        return inputs
    axis = list(window.margins)
    return tf.pad(inputs, [[0, 0], axis, axis, [0, 0]], constant_values=value)


def _factors(gamma_init: float | None) -> dict[str, float]:
    return {} if gamma_init is None else {"gamma_init": gamma_init}


def _bias_initializer(value: float | None) -> Callable[..., tf.Tensor]:
    if value is None:
        return v1.zeros_initializer()
    return v1.constant_initializer(value)


def _initializer(weight_init: WeightInit) -> Callable[..., tf.Tensor]:
    match weight_init.kind:
        case "truncated_normal":
            return v1.truncated_normal_initializer(stddev=weight_init.stddev)
        case "he_normal":
            return v1.variance_scaling_initializer(2.0, "fan_in")
        case "fan_in_uniform":
            return v1.variance_scaling_initializer(
                1 / 3, "fan_in", distribution="uniform"
            )
        case "dirac":
            return layers.dirac_initializer
    return slim.xavier_initializer()


def _depthwise_initializer(
    weight_init: WeightInit, inputs: int
) -> Callable[..., tf.Tensor]:
    """TensorFlow counts all channels as inputs of a filter, which sees `inputs` of one."""
    match weight_init.kind:
        case "truncated_normal":
            return _initializer(weight_init)
        case "he_normal":
            return v1.truncated_normal_initializer(stddev=(2 / inputs) ** 0.5)
    share = 3 if weight_init.kind == "xavier_uniform" else 1
    limit = (share / inputs) ** 0.5
    return v1.random_uniform_initializer(-limit, limit)

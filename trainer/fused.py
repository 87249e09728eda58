"""Activations of several operations, computed in one loop."""

import functools
import uuid
from collections.abc import Callable

import tensorflow as tf
import tensorflow.compat.v1 as v1
import tf_slim as slim

Function = Callable[[tf.Tensor], tf.Tensor]


@slim.add_arg_scope
def activation(
    inputs: tf.Tensor, function: Function, *, is_compiled: bool = False
) -> tf.Tensor:
    """`function` of `inputs`, an element at a time.

    TensorFlow runs a GELU and its gradient as some twenty operations, each of which reads
    and writes a whole activation; compiled by XLA each of the two is one loop. A step of
    `cifar10_fast` (batch 2,000, bfloat16) takes 1.78 s instead of 2.65 s on 2 CPU cores with
    AMX, 2026-12-01.

    Args:
      inputs: float32, any shape.
      function: of several elementwise operations, with a gradient.
      is_compiled: set by `gradients.for_hardware` for training graphs; others stay free of
        XLA, so that every runtime reads them.

    Returns:
      Of the shape and dtype of `inputs`.
    """
    return _compiled(inputs, function) if is_compiled else function(inputs)


def _compiled(inputs: tf.Tensor, function: Function) -> tf.Tensor:
    """`function` of `inputs` and its gradient, each one loop.

    As `tf.custom_gradient` does it, except that what is registered, which stays as long as
    the process, holds the function alone: there it holds the graph, and with it the images
    of the training.
    """

    @tf.function(jit_compile=True, autograph=False)
    def forward(inputs: tf.Tensor) -> tf.Tensor:
        return function(inputs)

    outputs = tf.stop_gradient(forward(inputs))
    graph = v1.get_default_graph()
    with graph.gradient_override_map({"IdentityN": _gradient_of(function)}):
        return tf.identity_n([outputs, inputs])[0]


@functools.cache
def _gradient_of(function: Function) -> str:
    """Name under which the gradient of `_compiled` is registered."""
    name = f"SlimlineCompiled{uuid.uuid4().hex}"

    @tf.RegisterGradient(name)
    def backward_of(
        operation: tf.Operation, gradient: tf.Tensor, unused: tf.Tensor | None
    ) -> list[tf.Tensor | None]:
        del unused

        @tf.function(jit_compile=True, autograph=False)
        def backward(inputs: tf.Tensor, gradient: tf.Tensor) -> tf.Tensor:
            return tf.gradients(function(inputs), inputs, gradient)[0]

        return [None, backward(operation.inputs[1], gradient)]

    return name

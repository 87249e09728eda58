"""Gradients in place of TensorFlow's own, where those are slow."""

import contextlib
from collections.abc import Iterator

import tensorflow as tf
import tensorflow.compat.v1 as v1

from trainer import devices
from trainer.config import TrainConfig

_CONVOLUTION = "SlimlineConv2D"


@contextlib.contextmanager
def for_hardware(train: TrainConfig) -> Iterator[None]:
    """Convolutions made within have gradients that suit the processor; values are the same.

    Of a convolution with a kernel of 1 x 1 the gradient of the weights is the product of
    two matrices. oneDNN, asked for the gradient of a convolution, first brings both into a
    layout of its own and takes two to three times as long (bfloat16 with AMX, maps of 56 to
    7 px: `benchmarks/README.md`). On GPUs everything stays TensorFlow's.
    """
    if devices.gpu_details(train):
        yield
        return
    with v1.get_default_graph().gradient_override_map({"Conv2D": _CONVOLUTION}):
        yield


@tf.RegisterGradient(_CONVOLUTION)
def _convolution_gradients(
    convolution: tf.Operation, gradient: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Gradients of `convolution`'s images and weights.

    Args:
      convolution: a `Conv2D`, [batch, height, width, channels] by
        [height, width, channels, num_outputs].
      gradient: [batch, height, width, num_outputs].
    """
    images, weights = convolution.inputs
    settings = {
        name: convolution.get_attr(name)
        for name in (
            "strides",
            "padding",
            "explicit_paddings",
            "dilations",
            "data_format",
        )
    }
    of_images = tf.raw_ops.Conv2DBackpropInput(
        input_sizes=tf.shape(images),
        filter=weights,
        out_backprop=gradient,
        **settings,
    )
    if _is_matrix_product(convolution):
        channels, num_outputs = weights.shape[2:]
        of_weights = tf.reshape(
            tf.matmul(
                tf.reshape(images, [-1, channels]),
                tf.reshape(gradient, [-1, num_outputs]),
                transpose_a=True,
            ),
            weights.shape,
        )
    else:
        of_weights = tf.raw_ops.Conv2DBackpropFilter(
            input=images,
            filter_sizes=weights.shape,
            out_backprop=gradient,
            **settings,
        )
    return of_images, of_weights


def _is_matrix_product(convolution: tf.Operation) -> bool:
    """Whether each output pixel follows from the one input pixel at its place."""
    return (
        list(convolution.inputs[1].shape[:2]) == [1, 1]
        and list(convolution.get_attr("strides")) == [1, 1, 1, 1]
        and convolution.get_attr("data_format") == b"NHWC"
        and not convolution.get_attr("explicit_paddings")
    )

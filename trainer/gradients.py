"""Gradients in place of TensorFlow's own, where those are slow."""

import contextlib
import functools
from collections.abc import Iterator

import tensorflow as tf
import tensorflow.compat.v1 as v1
import tf_slim as slim

from trainer import devices, fused
from trainer.config import TrainConfig

_CONVOLUTION = "SlimlineConv2D"
_BFLOAT16_CONVOLUTION = "SlimlineBfloat16Conv2D"
# Up to this height of maps and from this number of input channels on, the gradient of the
# weights in bfloat16 is faster as products of matrices.
SMALL_MAP_PX = 7
MANY_CHANNELS = 256


@contextlib.contextmanager
def for_hardware(train: TrainConfig) -> Iterator[None]:
    """Layers made within suit the processor; values and gradients are the same.

    Of a convolution with a kernel of 1 x 1 the gradient of the weights is the product of
    two matrices. oneDNN, asked for the gradient of a convolution, first brings both into a
    layout of its own and takes two to three times as long (bfloat16 with AMX, maps of 56 to
    7 px: `benchmarks/README.md`). In bfloat16 the same holds for larger kernels over small
    maps of many channels, with a product for each place of the kernel. Activations of
    several operations become one loop (`fused`). On GPUs everything stays TensorFlow's.
    """
    if devices.gpu_details(train):
        yield
        return
    is_bfloat16 = train.precision == "bfloat16"
    kind = _BFLOAT16_CONVOLUTION if is_bfloat16 else _CONVOLUTION
    with (
        v1.get_default_graph().gradient_override_map({"Conv2D": kind}),
        slim.arg_scope([fused.activation], is_compiled=True),
    ):
        yield


@tf.RegisterGradient(_CONVOLUTION)
def _convolution_gradients(
    convolution: tf.Operation, gradient: tf.Tensor, *, is_bfloat16: bool = False
) -> tuple[tf.Tensor, tf.Tensor]:
    """Gradients of `convolution`'s images and weights.

    Args:
      convolution: a `Conv2D`, [batch, height, width, channels] by
        [height, width, channels, num_outputs].
      gradient: [batch, height, width, num_outputs].
      is_bfloat16: the pass for bfloat16 will rewrite the graph.
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
    elif is_bfloat16 and _is_small(convolution):
        of_weights = _products(images, gradient, weights.shape)
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


def _is_small(convolution: tf.Operation) -> bool:
    """Whether a product of matrices for each place of the kernel is faster."""
    images, weights = convolution.inputs
    height, width, channels, _ = weights.shape
    return (
        convolution.get_attr("padding") == b"SAME"
        and convolution.get_attr("data_format") == b"NHWC"
        and list(convolution.get_attr("strides")) == [1, 1, 1, 1]
        and list(convolution.get_attr("dilations")) == [1, 1, 1, 1]
        and height % 2 == 1
        and width % 2 == 1
        and channels >= MANY_CHANNELS
        and max(side or SMALL_MAP_PX + 1 for side in images.shape[1:3]) <= SMALL_MAP_PX
    )


def _products(
    images: tf.Tensor, gradient: tf.Tensor, kernel: tf.TensorShape
) -> tf.Tensor:
    """Gradient of a kernel of odd sides: a product of matrices for each of its places.

    Args:
      images: [batch, height, width, channels], all but the batch static.
      gradient: [batch, height, width, num_outputs].
      kernel: the static shape [rows, columns, channels, num_outputs].

    Returns:
      [rows, columns, channels, num_outputs].
    """
    rows, columns, channels, num_outputs = kernel
    _, height, width, _ = images.shape
    above, left = rows // 2, columns // 2
    padded = tf.pad(images, [[0, 0], [above, above], [left, left], [0, 0]])
    behind = tf.reshape(gradient, [-1, num_outputs])

    def product(row: int, column: int) -> tf.Tensor:
        seen = padded[:, row : row + height, column : column + width]
        return tf.matmul(tf.reshape(seen, [-1, channels]), behind, transpose_a=True)

    return tf.stack(
        [
            tf.stack([product(row, column) for column in range(columns)])
            for row in range(rows)
        ]
    )


tf.RegisterGradient(_BFLOAT16_CONVOLUTION)(
    functools.partial(_convolution_gradients, is_bfloat16=True)
)

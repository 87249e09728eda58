"""Layers in the style of tf-slim that tf-slim lacks or cannot run."""

import zlib
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf
import tf_slim as slim

Activation = Callable[[tf.Tensor], tf.Tensor]
ZEROS = tf.compat.v1.zeros_initializer()
# Collection of the weights that decay.
DECAYED = "decayed_variables"
_MIN_EPSILON = 1.001e-5
# Operations into which an inference graph folds a batch norm, by type.
_CONVOLUTIONS = {
    "Conv2D": tf.nn.conv2d,
    "DepthwiseConv2dNative": tf.nn.depthwise_conv2d,
}


@slim.add_arg_scope
def batch_norm(
    inputs: tf.Tensor,
    *,
    is_training: bool = True,
    decay: float = 0.999,
    epsilon: float = 0.001,
    scale: bool = False,
    gamma_init: float = 1.0,
    scope: Any = None,
) -> tf.Tensor:
    """Batch normalisation over all axes but the last; a `normalizer_fn` for slim layers.

    Replaces `slim.batch_norm`, which does not run on TensorFlow 2.16 and later, with the
    same numbers, variable names and collections.

    In training the batch's mean and biased variance (divided by N) normalise, and two
    update ops go into `UPDATE_OPS`; they run only if the train op depends on them. The
    moving variance stores the unbiased variance (divided by N - 1), which the fused kernel
    returns. In inference the two moving averages normalise, so an image's result does not
    depend on the other images of the batch.

    Args:
      inputs: float32 or half precision [batch, height, width, channels] or
        [batch, channels], channels static.
      is_training: Python bool, not a tensor: training and inference are two graphs.
      decay: share of the old moving average kept by an update, in [0, 1).
      epsilon: added to the variance; at least 1.001e-5, the minimum of the fused kernel.
      scale: has the learned factor `gamma`; unnecessary before a ReLU and another
        convolution, which can scale.
      gamma_init: initial value of `gamma`.
      scope: variable scope, 'BatchNorm' where not given.

    Returns:
      Tensor of the shape and dtype of `inputs`.

    Raises:
      TypeError: `is_training` is not a Python bool.
      ValueError: rank is neither 2 nor 4, or channels are unknown.

    Reference: Ioffe and Szegedy, arXiv:1502.03167, algorithms 1 and 2.
    """
    if not isinstance(is_training, bool):
        raise TypeError(
            f"`is_training` must be a Python bool. Received {is_training!r}."
        )
    rank = inputs.shape.rank
    channels = inputs.shape[-1] if rank in (2, 4) else None
    if channels is None:
        raise ValueError(
            "`inputs` must be [batch, height, width, channels] or [batch, channels] with "
            f"known channels. Received shape {inputs.shape}."
        )
    with tf.compat.v1.variable_scope(scope, "BatchNorm", [inputs]):
        beta = _variable("beta", channels, 0.0)
        gamma = (
            _variable("gamma", channels, gamma_init) if scale else tf.ones([channels])
        )
        moving_mean = _variable("moving_mean", channels, 0.0, trainable=False)
        moving_variance = _variable("moving_variance", channels, 1.0, trainable=False)
        images = inputs if rank == 4 else tf.reshape(inputs, [-1, 1, 1, channels])
        if is_training:
            outputs, mean, variance = tf.compat.v1.nn.fused_batch_norm(
                images, gamma, beta, epsilon=epsilon
            )
            for average, value in ((moving_mean, mean), (moving_variance, variance)):
                tf.compat.v1.add_to_collection(
                    tf.compat.v1.GraphKeys.UPDATE_OPS,
                    average.assign_sub(
                        (average - value) * (1.0 - decay),
                        name=f"update_{average.op.name.rsplit('/', 1)[-1]}",
                        read_value=False,
                    ),
                )
        else:
            outputs = _folded(
                images, gamma, beta, moving_mean, moving_variance, epsilon
            )
        if rank == 2:
            outputs = tf.reshape(outputs, tf.shape(inputs))
        # Not tf.ensure_shape: a node here prevents the fusion with the following ReLU.
        outputs.set_shape(inputs.shape)
        return outputs


def _folded(
    images: tf.Tensor,
    gamma: tf.Tensor,
    beta: tf.Tensor,
    mean: tf.Tensor,
    variance: tf.Tensor,
    epsilon: float,
) -> tf.Tensor:
    """The inference of `batch_norm`, as weights and bias of a convolution before it.

    TensorFlow would fuse the two, but without AVX-512 oneDNN's kernels for this take 10 to
    60 times as long for one image, and a batch norm behind a depthwise convolution is not
    fused at all. A bias and the activation behind it are fused well everywhere.
    """
    bias = None
    source = images.op
    if source.type == "BiasAdd":
        bias = source.inputs[1]
        source = source.inputs[0].op
    convolve = _CONVOLUTIONS.get(source.type)
    if convolve is None:
        return tf.compat.v1.nn.fused_batch_norm(
            images, gamma, beta, mean, variance, epsilon, is_training=False
        )[0]
    factor = gamma * tf.math.rsqrt(variance + max(epsilon, _MIN_EPSILON))
    offset = beta - mean * factor
    if bias is not None:
        offset += tf.cast(bias, offset.dtype) * factor
    inputs, weights = source.inputs
    if source.type == "DepthwiseConv2dNative":
        factor = tf.reshape(factor, weights.shape[2:])
    outputs = convolve(
        inputs,
        weights * tf.cast(factor, weights.dtype),
        strides=source.get_attr("strides"),
        padding=source.get_attr("padding").decode(),
        dilations=source.get_attr("dilations")[1:3],
    )
    return tf.nn.bias_add(outputs, tf.cast(offset, outputs.dtype))


def l2_regularizer(scale: float) -> Callable[[tf.Variable], tf.Tensor]:
    """`slim.l2_regularizer` that also adds the weights to the collection `DECAYED`.

    Optimizers with decoupled decay read it.
    """
    loss = slim.l2_regularizer(scale)

    def regularize(weights: tf.Variable) -> tf.Tensor:
        # TensorFlow calls a regulariser more than once, a second tower once more.
        known = {variable.name for variable in tf.compat.v1.get_collection(DECAYED)}
        if weights.name not in known:
            tf.compat.v1.add_to_collection(DECAYED, weights)
        return loss(weights)

    return regularize


def bias_batch_norm(inputs: tf.Tensor, **arguments: Any) -> tf.Tensor:
    """Adds a bias, then normalises; `arguments` are those of `batch_norm`.

    The mean cancels the bias, which is there for the parameter counts of reference nets.
    """
    return batch_norm(slim.bias_add(inputs), **arguments)


def dirac_initializer(
    shape: Sequence[int], dtype: tf.DType = tf.float32, partition_info: Any = None
) -> tf.Tensor:
    """Weights with which the first filters of a convolution are the identity of a channel.

    Args:
      shape: [height, width, channels, filters] or [inputs, units].
      dtype: of the weights.
      partition_info: not used.

    Returns:
      Filter i < channels is 1 at the centre of channel i and 0 elsewhere. The others, and
      all units of a dense layer, are uniform between -1 and 1 over the square root of the
      inputs of a unit.
    """
    del partition_info
    uniform = tf.compat.v1.variance_scaling_initializer(
        1 / 3, "fan_in", distribution="uniform"
    )
    drawn = uniform(shape, dtype)
    if len(shape) == 2:
        return drawn
    height_px, width_px, channels, filters = shape
    passing = min(channels, filters)
    window = tf.scatter_nd(
        [[height_px // 2, width_px // 2]],
        tf.eye(channels, passing, dtype=dtype)[None],
        [height_px, width_px, channels, passing],
    )
    return tf.concat([window, drawn[..., passing:]], axis=3)


def hard_sigmoid(inputs: tf.Tensor) -> tf.Tensor:
    """The sigmoid in three linear pieces: 0 up to -3, 1 from 3.

    Reference: Howard et al., arXiv:1905.02244, section 5.2.
    """
    return tf.nn.relu6(inputs + 3.0) * (1.0 / 6.0)


@slim.add_arg_scope
def im2col_conv2d(
    inputs: tf.Tensor,
    num_outputs: int,
    kernel_size: Sequence[int],
    stride: int = 1,
    padding: str = "SAME",
    activation_fn: Activation | None = tf.nn.relu,
    normalizer_fn: Activation | None = None,
    weights_initializer: Callable[..., tf.Tensor] | None = None,
    weights_regularizer: Callable[[tf.Tensor], tf.Tensor] | None = None,
    biases_initializer: Callable[..., tf.Tensor] | None = ZEROS,
    scope: Any = None,
) -> tf.Tensor:
    """`slim.conv2d` by patches and one matrix product, with the same variables.

    Every window becomes a row ("image to columns"), the kernel a matrix. It needs more memory
    and time than TensorFlow's kernel.

    Args:
      inputs: float32 [batch, height, width, channels], all but the batch static.
      num_outputs: filters.
      kernel_size: height and width in px.
      stride: px from window to window, in both directions.
      padding: 'SAME' or 'VALID'.
      activation_fn, normalizer_fn, weights_initializer, weights_regularizer,
        biases_initializer, scope: as for `slim.conv2d`; no biases beside a normalizer.

    Returns:
      float32 [batch, new height, new width, num_outputs].
    """
    height_px, width_px = kernel_size
    channels = inputs.shape[-1]
    with tf.compat.v1.variable_scope(scope, "Conv", [inputs]):
        weights = slim.model_variable(
            "weights",
            shape=[height_px, width_px, channels, num_outputs],
            initializer=weights_initializer or slim.xavier_initializer(),
            regularizer=weights_regularizer,
        )
        patches = tf.image.extract_patches(
            inputs,
            sizes=[1, height_px, width_px, 1],
            strides=[1, stride, stride, 1],
            rates=[1, 1, 1, 1],
            padding=padding,
        )
        outputs = tf.tensordot(
            patches,
            tf.reshape(weights, [height_px * width_px * channels, num_outputs]),
            axes=1,
        )
        if normalizer_fn is not None:
            outputs = normalizer_fn(outputs)
        elif biases_initializer is not None:
            outputs += slim.model_variable(
                "biases", shape=[num_outputs], initializer=biases_initializer
            )
        return outputs if activation_fn is None else activation_fn(outputs)


@slim.add_arg_scope
def dropout(
    inputs: tf.Tensor,
    keep_prob: float,
    *,
    is_training: bool = True,
    seed: tf.Tensor | None = None,
    is_spatial: bool = False,
    scope: Any = None,
) -> tf.Tensor:
    """Zeroes values at random and scales the others up, in training only.

    The draws depend on `seed` and the layer's scope alone, so a resumed training drops the
    same values as an uninterrupted one; `slim.dropout` would restart its random sequence.

    Args:
      inputs: float32 [batch, ...]; [batch, height, width, channels] if `is_spatial`.
      keep_prob: share of the values kept, in (0, 1].
      is_training: Python bool.
      seed: integers [2], another pair in each step; needed in training.
      is_spatial: whole maps are dropped instead of single values.

    Returns:
      Tensor of the shape and dtype of `inputs`.

    Reference: Srivastava et al., JMLR 15 (2014); for whole maps Tompson et al.,
      arXiv:1411.4280, section 3.2.
    """
    with tf.compat.v1.variable_scope(scope, "Dropout", [inputs]) as here:
        if not is_training:
            return tf.identity(inputs)
        noise_shape = None
        if is_spatial:
            noise_shape = [tf.shape(inputs)[0], 1, 1, inputs.shape[3]]
        # Another seed for each layer, by its name.
        own_seed = tf.random.experimental.stateless_fold_in(
            seed, zlib.crc32(here.name.encode())
        )
        return tf.nn.experimental.stateless_dropout(
            inputs, 1.0 - keep_prob, own_seed, noise_shape=noise_shape
        )


def _variable(
    name: str, channels: int, value: float, *, trainable: bool = True
) -> tf.Variable:
    # float32 whatever the inputs are: averages lose their small steps in half precision.
    return slim.model_variable(
        name,
        shape=[channels],
        dtype=tf.float32,
        initializer=tf.compat.v1.constant_initializer(value),
        regularizer=_no_regularizer,
        trainable=trainable,
    )


def _no_regularizer(_: tf.Tensor) -> None:
    """Keeps a regulariser of an enclosing variable scope off the batch-norm variables."""

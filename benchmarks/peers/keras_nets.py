"""The tables of `trainer.nets` as functional Keras models.

The layers are Keras's own, with the settings a user of Keras would give them: no bias
beside batch norm, float32 logits under mixed precision. Works with Keras 3 and with
tf_keras (Keras 2), whose layers have the same names.
"""

from functools import singledispatchmethod
from types import ModuleType
from typing import Any

from trainer.nets import blocks

# As `trainer.nets.block_ops` has it.
LEAKY_SLOPE = 0.02
INITIALISERS = {
    "he_normal": "he_normal",
    "xavier_uniform": "glorot_uniform",
    "truncated_normal": "truncated_normal",
}


def build(
    keras: ModuleType,
    spec: blocks.NetSpec,
    *,
    num_classes: int,
    image_size_px: int,
    weight_decay: float = 0.0,
) -> Any:
    """The net `spec` as a `keras.Model`.

    Args:
      keras: the module `keras` or `tf_keras`.
      spec: the table.
      num_classes: width of the logits.
      image_size_px: side of the images.
      weight_decay: factor of the L2 loss, as in `trainer.nets.builder.build`.

    Returns:
      Model from float32 [batch, image_size_px, image_size_px, channels] to logits,
      float32 [batch, num_classes].
    """
    inputs = keras.Input([image_size_px, image_size_px, spec.channels])
    converter = _Converter(keras, spec, weight_decay)
    outputs = converter.fold(spec.blocks, inputs)
    logits = keras.layers.Dense(
        num_classes,
        kernel_regularizer=converter.regulariser(spec.head.regularised),
        dtype="float32",
    )(outputs)
    return keras.Model(inputs, logits, name=spec.name)


class _Converter:
    """Adds the layers of blocks to a functional model."""

    def __init__(
        self, keras: ModuleType, spec: blocks.NetSpec, weight_decay: float
    ) -> None:
        self._keras = keras
        self._layers = keras.layers
        self._defaults = spec.defaults
        self._weight_decay = weight_decay

    def fold(self, table: tuple[blocks.Block, ...], inputs: Any) -> Any:
        """The tensor behind all blocks of `table` in turn."""
        for block in table:
            inputs = self.add(block, inputs)
        return inputs

    def regulariser(self, is_regularised: bool | None) -> Any:
        """The L2 loss of a layer's weights; None takes the net's default."""
        if is_regularised is None:
            is_regularised = self._defaults.regularised
        if not is_regularised or not self._weight_decay:
            return None
        # Ours is half the sum of squares, theirs the whole.
        return self._keras.regularizers.L2(self._weight_decay / 2)

    @singledispatchmethod
    def add(self, block: blocks.Block, inputs: Any) -> Any:
        """The tensor behind `block`."""
        raise TypeError(f"there is no Keras layer for blocks of {type(block)}")

    @add.register
    def _conv(self, block: blocks.Conv, inputs: Any) -> Any:
        padding = block.padding
        if isinstance(padding, int):
            inputs = self._layers.ZeroPadding2D(padding)(inputs)
            padding = "VALID"
        outputs = self._layers.Conv2D(
            block.filters,
            block.kernel,
            strides=block.stride,
            padding=padding.lower(),
            **self._weights(block),
        )(inputs)
        return self._behind(block, outputs)

    @add.register
    def _separable_conv(self, block: blocks.SeparableConv, inputs: Any) -> Any:
        arguments = self._weights(block)
        regulariser = arguments.pop("kernel_regularizer")
        initialiser = arguments.pop("kernel_initializer")
        outputs = self._layers.SeparableConv2D(
            block.filters,
            block.kernel,
            strides=block.stride,
            padding=block.padding.lower(),
            depth_multiplier=block.depth_multiplier,
            depthwise_initializer=initialiser,
            pointwise_initializer=initialiser,
            depthwise_regularizer=regulariser,
            pointwise_regularizer=regulariser,
            **arguments,
        )(inputs)
        return self._behind(block, outputs)

    @add.register
    def _dense(self, block: blocks.Dense, inputs: Any) -> Any:
        outputs = self._layers.Dense(block.units, **self._weights(block))(inputs)
        return self._behind(block, outputs)

    @add.register
    def _pool(self, block: blocks.Pool, inputs: Any) -> Any:
        layer = (
            self._layers.MaxPooling2D
            if block.kind == "max"
            else self._layers.AveragePooling2D
        )
        return layer(block.kernel, strides=block.stride, padding=block.padding.lower())(
            inputs
        )

    @add.register
    def _mixed(self, block: blocks.Mixed, inputs: Any) -> Any:
        branches = [self.fold(branch, inputs) for branch in block.branches]
        return self._layers.Concatenate()(branches)

    @add.register
    def _residual(self, block: blocks.Residual, inputs: Any) -> Any:
        body = self.fold(block.body, inputs)
        if self._defaults.residual_scale != 1:
            body = self._layers.Rescaling(self._defaults.residual_scale)(body)
        channels = body.shape[3]
        if block.shortcut == "projection":
            projection = blocks.Conv(
                channels, 1, stride=block.stride, activation="linear"
            )
            shortcut = self.add(projection, inputs)
        else:
            shortcut = self._padded_identity(block, inputs, channels)
        outputs = self._layers.Add()([shortcut, body])
        return self._activate(block.activation or self._defaults.activation, outputs)

    @add.register
    def _global_pool(self, block: blocks.GlobalPool, inputs: Any) -> Any:
        return self._layers.GlobalAveragePooling2D()(inputs)

    @add.register
    def _flatten(self, block: blocks.Flatten, inputs: Any) -> Any:
        return self._layers.Flatten()(inputs)

    @add.register
    def _dropout(self, block: blocks.Dropout, inputs: Any) -> Any:
        layer = self._layers.SpatialDropout2D if block.spatial else self._layers.Dropout
        return layer(1 - block.keep_prob)(inputs)

    @add.register
    def _batch_norm(self, block: blocks.BatchNorm, inputs: Any) -> Any:
        return self._normalise(inputs)

    @add.register
    def _activation(self, block: blocks.Activate, inputs: Any) -> Any:
        return self._activate(block.kind, inputs)

    def _weights(self, block: blocks.Weighted) -> dict[str, Any]:
        norm = self._defaults.norm if block.norm is None else block.norm
        bias = self._defaults.bias if block.bias is None else block.bias
        weight_init = block.weight_init or self._defaults.weight_init
        return {
            "use_bias": not norm if bias is None else bias,
            "kernel_initializer": INITIALISERS[weight_init.kind],
            "kernel_regularizer": self.regulariser(block.regularised),
        }

    def _behind(self, block: blocks.Weighted, outputs: Any) -> Any:
        if self._defaults.norm if block.norm is None else block.norm:
            outputs = self._normalise(outputs)
        return self._activate(block.activation or self._defaults.activation, outputs)

    def _normalise(self, inputs: Any) -> Any:
        return self._layers.BatchNormalization(
            momentum=self._defaults.norm_decay,
            epsilon=self._defaults.norm_epsilon,
            scale=self._defaults.norm_scale,
        )(inputs)

    def _activate(self, kind: blocks.Activation, inputs: Any) -> Any:
        if kind == "linear":
            return inputs
        if kind == "leaky_relu":
            return self._layers.LeakyReLU(LEAKY_SLOPE)(inputs)
        return self._layers.Activation(kind)(inputs)

    def _padded_identity(
        self, block: blocks.Residual, inputs: Any, channels: int
    ) -> Any:
        if block.stride > 1:
            inputs = inputs[:, :: block.stride, :: block.stride, :]
        missing = channels - inputs.shape[3]
        if not missing:
            return inputs
        before = missing // 2 if block.shortcut == "pad_symmetric" else 0
        widths = [[0, 0], [0, 0], [0, 0], [before, missing - before]]
        if hasattr(self._keras, "ops"):
            return self._keras.ops.pad(inputs, widths)
        import tensorflow as tf  # Keras 2 has no operations of its own

        return tf.pad(inputs, widths)

"""The tables of `trainer.nets` as functional Keras models.

The layers are Keras's own, with the settings a user of Keras would give them: no bias
beside batch norm, float32 logits under mixed precision. Works with Keras 3 and with
tf_keras (Keras 2), whose layers have the same names.
"""

from collections.abc import Sequence
from types import ModuleType
from typing import Any, Literal

from trainer.nets import blocks, primitives
from trainer.nets.primitives import Settings, Window

INITIALISERS = {
    "he_normal": "he_normal",
    "xavier_uniform": "glorot_uniform",
    "truncated_normal": "truncated_normal",
    "fan_in_uniform": "lecun_uniform",
    # Keras has no start that passes channels on; the work of a step is the same.
    "dirac": "lecun_uniform",
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
    layers = KerasLayers(keras, spec.defaults, weight_decay)
    outputs = blocks.fold(spec.blocks, layers, inputs)
    head = layers.resolved(spec.logits(num_classes))
    logits = keras.layers.Dense(
        num_classes,
        use_bias=head.bias,
        kernel_regularizer=layers.regulariser(head.regularised),
        dtype="float32",
    )(outputs)
    return keras.Model(inputs, logits, name=spec.name)


class KerasLayers(primitives.Layers[Any]):
    """Adds to a functional model."""

    def __init__(
        self, keras: ModuleType, defaults: primitives.Defaults, weight_decay: float
    ) -> None:
        super().__init__(defaults)
        self._keras = keras
        self._layers = keras.layers
        self._weight_decay = weight_decay

    def regulariser(self, is_regularised: bool) -> Any:
        """The L2 loss of a layer's weights."""
        if not is_regularised or not self._weight_decay:
            return None
        # Ours is half the sum of squares, theirs the whole.
        return self._keras.regularizers.L2(self._weight_decay / 2)

    def shape(self, inputs: Any) -> primitives.Shape:
        return tuple(inputs.shape[1:])

    def conv(
        self, inputs: Any, filters: int, window: Window, settings: Settings, name: str
    ) -> Any:
        return self._weighted(
            self._layers.Conv2D,
            self._padded(inputs, window),
            settings,
            filters=filters,
            **_arguments(window),
        )

    def depthwise_conv(
        self,
        inputs: Any,
        multiplier: int,
        filters: int | None,
        window: Window,
        settings: Settings,
        name: str,
    ) -> Any:
        kinds = ["depthwise"] if filters is None else ["depthwise", "pointwise"]
        return self._weighted(
            self._layers.SeparableConv2D if filters else self._layers.DepthwiseConv2D,
            self._padded(inputs, window),
            settings,
            kinds,
            depth_multiplier=multiplier,
            **({"filters": filters} if filters else {}),
            **_arguments(window),
        )

    def dense(self, inputs: Any, units: int, settings: Settings, name: str) -> Any:
        return self._weighted(self._layers.Dense, inputs, settings, units=units)

    def batch_norm(self, inputs: Any, gamma_init: float | None, name: str) -> Any:
        return self._layers.BatchNormalization(
            momentum=self.defaults.norm_decay,
            epsilon=self.defaults.norm_epsilon,
            scale=self.defaults.norm_scale,
            gamma_initializer="zeros" if gamma_init == 0 else "ones",
        )(inputs)

    def activation(self, inputs: Any, kind: primitives.Activation) -> Any:
        match kind:
            case "linear":
                return inputs
            case "leaky_relu":
                return self._layers.LeakyReLU(primitives.LEAKY_SLOPE)(inputs)
            # Keras 2 has another function under this name.
            case "hard_sigmoid":
                return self._layers.ReLU(6.0)(inputs + 3.0) * (1.0 / 6.0)
            case "hard_swish":
                return self.multiply(inputs, self.activation(inputs, "hard_sigmoid"))
        return self._layers.Activation(kind)(inputs)

    def pool(
        self, inputs: Any, kind: Literal["max", "avg"], window: Window, name: str
    ) -> Any:
        layer = (
            self._layers.MaxPooling2D
            if kind == "max"
            else self._layers.AveragePooling2D
        )
        settings = _arguments(window)
        settings["pool_size"] = settings.pop("kernel_size")
        return layer(**settings)(self._padded(inputs, window))

    def global_pool(self, inputs: Any, keep_dims: bool, name: str) -> Any:
        return self._layers.GlobalAveragePooling2D(keepdims=keep_dims)(inputs)

    def flatten(self, inputs: Any, name: str) -> Any:
        return self._layers.Flatten()(inputs)

    def dropout(
        self, inputs: Any, keep_prob: float, is_spatial: bool, name: str
    ) -> Any:
        layer = self._layers.SpatialDropout2D if is_spatial else self._layers.Dropout
        return layer(1 - keep_prob)(inputs)

    def subsample(self, inputs: Any, stride: int) -> Any:
        return inputs[:, ::stride, ::stride, :]

    def pad_channels(self, inputs: Any, before: int, behind: int) -> Any:
        widths = [[0, 0], [0, 0], [0, 0], [before, behind]]
        if hasattr(self._keras, "ops"):
            return self._keras.ops.pad(inputs, widths)
        import tensorflow as tf  # Keras 2 has no operations of its own

        return tf.pad(inputs, widths)

    def concat(self, inputs: Sequence[Any]) -> Any:
        return self._layers.Concatenate()(inputs)

    def add(self, shortcut: Any, body: Any, scale: float) -> Any:
        if scale != 1:
            body = self.scale(body, scale)
        return self._layers.Add()([shortcut, body])

    def multiply(self, inputs: Any, factors: Any) -> Any:
        return self._layers.Multiply()([inputs, factors])

    def scale(self, inputs: Any, factor: float) -> Any:
        return self._layers.Rescaling(factor)(inputs)

    def _weighted(
        self,
        layer: Any,
        inputs: Any,
        settings: Settings,
        kinds: Sequence[str] = ("kernel",),
        **arguments: Any,
    ) -> Any:
        """A layer with its batch norm and activation; `kinds` are its kinds of weights."""
        resolved = self.resolved(settings)
        for kind in kinds:
            arguments[f"{kind}_initializer"] = INITIALISERS[resolved.weight_init.kind]
            arguments[f"{kind}_regularizer"] = self.regulariser(resolved.regularised)
        outputs = layer(use_bias=resolved.bias, **arguments)(inputs)
        if resolved.norm:
            outputs = self.batch_norm(outputs, resolved.gamma_init, "")
        return self.activation(outputs, resolved.activation)

    def _padded(self, inputs: Any, window: Window) -> Any:
        # Of a max pool too, as Keras's own nets do: it comes behind a ReLU.
        if window.margins is None:
            return inputs
        return self._layers.ZeroPadding2D((window.margins, window.margins))(inputs)


def _arguments(window: Window) -> dict[str, Any]:
    return {
        "kernel_size": window.kernel,
        "strides": window.stride,
        "padding": window.scheme.lower(),
    }

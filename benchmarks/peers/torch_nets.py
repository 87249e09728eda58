"""The tables of `trainer.nets` as PyTorch modules.

The layers are PyTorch's own, with the settings a user of PyTorch would give them: no bias
beside batch norm, ReLU in place, padding of half a kernel where the table says SAME. Shapes
are those of the table, so the work is the same; where a stride meets an even size the
windows lie one px aside of TensorFlow's. Weights begin as PyTorch begins them.

Imports no TensorFlow: `trainer.nets.blocks` and the tables need none.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import fx, nn
from torch.nn import functional

from trainer.nets import blocks, primitives
from trainer.nets.geometry import Sizes
from trainer.nets.primitives import Defaults, Settings, Shape, Window

ACTIVATIONS: dict[primitives.Activation, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "relu6": nn.ReLU6,
    "leaky_relu": lambda: nn.LeakyReLU(primitives.LEAKY_SLOPE),
    "sigmoid": nn.Sigmoid,
    "hard_sigmoid": nn.Hardsigmoid,
    "swish": nn.SiLU,
    "hard_swish": nn.Hardswish,
    "gelu": nn.GELU,
    "tanh": nn.Tanh,
}


def build(spec: blocks.NetSpec, *, num_classes: int, image_size_px: int) -> nn.Module:
    """The net `spec` as a module.

    Args:
      spec: the table.
      num_classes: width of the logits.
      image_size_px: side of the images.

    Returns:
      Module from float32 [batch, channels, image_size_px, image_size_px] to logits,
      [batch, num_classes].
    """
    layers = TorchLayers(spec.defaults)
    images = layers.input((image_size_px, image_size_px, spec.channels))
    outputs = blocks.fold(spec.blocks, layers, images)
    return layers.module(spec.logits(num_classes).add(layers, outputs, "logits"))


def count_trainable(module: nn.Module) -> int:
    """Parameters that the optimizer moves."""
    return sum(
        parameter.numel()
        for parameter in module.parameters()
        if parameter.requires_grad
    )


@dataclass(frozen=True)
class Value:
    """A value in the traced net; `shape` is one image's, channels last as in the tables."""

    tensor: fx.Proxy
    shape: Shape


class TorchLayers(primitives.Layers[Value]):
    """Writes the forward pass of a module, with the modules that it calls."""

    def __init__(self, defaults: Defaults) -> None:
        super().__init__(defaults)
        self._sizes = Sizes(defaults)
        self._graph = fx.Graph()
        self._tracer = fx.proxy.GraphAppendingTracer(self._graph)
        self._modules: dict[str, nn.Module] = {}

    def input(self, shape: Shape) -> Value:
        """The images; the first call."""
        return self._value(self._graph.placeholder("images"), shape)

    def module(self, outputs: Value) -> nn.Module:
        """The net up to `outputs`."""
        self._graph.output(outputs.tensor.node)
        for node in self._graph.nodes:
            module = self._modules.get(str(node.target))
            if isinstance(module, nn.ReLU | nn.ReLU6 | nn.LeakyReLU):
                # Where nothing else reads what it overwrites.
                module.inplace = len(node.args[0].users) == 1
        return fx.GraphModule(self._modules, self._graph)

    def shape(self, inputs: Value) -> Shape:
        return inputs.shape

    def conv(
        self,
        inputs: Value,
        filters: int,
        window: Window,
        settings: Settings,
        name: str,
    ) -> Value:
        convolution = nn.Conv2d(
            inputs.shape[2],
            filters,
            window.sides,
            window.stride,
            _padding(window),
            bias=self.resolved(settings).bias,
        )
        shape = (*window.places(inputs.shape), filters)
        outputs = self._call(convolution, inputs, shape)
        return self._behind(outputs, settings)

    def depthwise_conv(
        self,
        inputs: Value,
        multiplier: int,
        filters: int | None,
        window: Window,
        settings: Settings,
        name: str,
    ) -> Value:
        channels = inputs.shape[2]
        depthwise = nn.Conv2d(
            channels,
            channels * multiplier,
            window.sides,
            window.stride,
            _padding(window),
            groups=channels,
            bias=filters is None and self.resolved(settings).bias,
        )
        shape = (*window.places(inputs.shape), channels * multiplier)
        outputs = self._call(depthwise, inputs, shape)
        if filters is None:
            return self._behind(outputs, settings)
        return self.conv(outputs, filters, Window(1), settings, name)

    def dense(self, inputs: Value, units: int, settings: Settings, name: str) -> Value:
        linear = nn.Linear(inputs.shape[0], units, bias=self.resolved(settings).bias)
        return self._behind(self._call(linear, inputs, (units,)), settings)

    def batch_norm(self, inputs: Value, gamma_init: float | None, name: str) -> Value:
        norm = (nn.BatchNorm2d if len(inputs.shape) == 3 else nn.BatchNorm1d)(
            inputs.shape[-1],
            eps=self.defaults.norm_epsilon,
            momentum=1 - self.defaults.norm_decay,
        )
        # The fused kernel wants a factor; one that is not trained stays 1.
        norm.weight.requires_grad_(self.defaults.norm_scale)
        if gamma_init is not None:
            nn.init.constant_(norm.weight, gamma_init)
        return self._call(norm, inputs, inputs.shape)

    def activation(self, inputs: Value, kind: primitives.Activation) -> Value:
        if kind == "linear":
            return inputs
        return self._call(ACTIVATIONS[kind](), inputs, inputs.shape)

    def pool(
        self, inputs: Value, kind: Literal["max", "avg"], window: Window, name: str
    ) -> Value:
        is_even = window.padding == "SAME" and window.sides[0] % 2 == 0
        settings: dict[str, Any] = {
            "kernel_size": window.sides,
            "stride": window.stride,
            "padding": (0, 0) if is_even else _padding(window),
            "ceil_mode": is_even,
        }
        pool = (
            nn.MaxPool2d(**settings)
            if kind == "max"
            else nn.AvgPool2d(**settings, count_include_pad=False)
        )
        shape = self._sizes.pool(inputs.shape, kind, window, name)
        return self._call(pool, inputs, shape)

    def global_pool(self, inputs: Value, keep_dims: bool, name: str) -> Value:
        channels = inputs.shape[2]
        means = self._call(nn.AdaptiveAvgPool2d(1), inputs, (1, 1, channels))
        return means if keep_dims else self.flatten(means, name)

    def flatten(self, inputs: Value, name: str) -> Value:
        shape = self._sizes.flatten(inputs.shape, name)
        return self._call(nn.Flatten(), inputs, shape)

    def dropout(
        self, inputs: Value, keep_prob: float, is_spatial: bool, name: str
    ) -> Value:
        kind = nn.Dropout2d if is_spatial else nn.Dropout
        return self._call(kind(1 - keep_prob), inputs, inputs.shape)

    def subsample(self, inputs: Value, stride: int) -> Value:
        shape = self._sizes.subsample(inputs.shape, stride)
        return Value(inputs.tensor[:, :, ::stride, ::stride], shape)

    def pad_channels(self, inputs: Value, before: int, behind: int) -> Value:
        padded = functional.pad(inputs.tensor, (0, 0, 0, 0, before, behind))
        return Value(padded, self._sizes.pad_channels(inputs.shape, before, behind))

    def concat(self, inputs: Sequence[Value]) -> Value:
        joined = torch.cat([value.tensor for value in inputs], dim=1)
        return Value(joined, self._sizes.concat([value.shape for value in inputs]))

    def add(self, shortcut: Value, body: Value, scale: float) -> Value:
        scaled = body.tensor if scale == 1 else body.tensor * scale
        return Value(scaled + shortcut.tensor, body.shape)

    def multiply(self, inputs: Value, factors: Value) -> Value:
        return Value(inputs.tensor * factors.tensor, inputs.shape)

    def scale(self, inputs: Value, factor: float) -> Value:
        return Value(inputs.tensor * factor, inputs.shape)

    def _call(self, module: nn.Module, inputs: Value, shape: Shape) -> Value:
        name = f"layer{len(self._modules)}"
        self._modules[name] = module
        called = self._graph.call_module(name, (inputs.tensor.node,))
        return self._value(called, shape)

    def _value(self, node: fx.Node, shape: Shape) -> Value:
        return Value(fx.Proxy(node, self._tracer), shape)

    def _behind(self, outputs: Value, settings: Settings) -> Value:
        resolved = self.resolved(settings)
        if resolved.norm:
            outputs = self.batch_norm(outputs, resolved.gamma_init, "")
        return self.activation(outputs, resolved.activation)


def _padding(window: Window) -> tuple[int, int]:
    """Px on each side of height and width; half a kernel for SAME."""
    height_px, width_px = window.sides
    before, behind = window.margins or (0, 0)
    is_same = window.padding == "SAME"
    if before != behind or (is_same and not (height_px % 2 and width_px % 2)):
        raise ValueError(f"no symmetric padding for {window}, {window.padding}")
    return (height_px // 2, width_px // 2) if is_same else (before, behind)

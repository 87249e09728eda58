"""The vocabulary of the net tables: blocks, and the spec that holds them.

A block is a frozen dataclass whose `add` describes it with the operations of
`primitives.Layers`; a new block needs no other code. No TensorFlow here: tables print
without loading it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from functools import partial, reduce
from typing import Literal

from trainer.nets.primitives import DIRAC as DIRAC
from trainer.nets.primitives import HE_NORMAL as HE_NORMAL
from trainer.nets.primitives import (
    Activation,
    Defaults,
    Kernel,
    Layers,
    Padding,
    Settings,
    Tensor,
    TooSmallError,
    WeightInit,
    Window,
)
from trainer.nets.published import Source

# Scope and end point of the head.
CLASS_LAYER = "logits"
Shortcut = Literal["identity", "pad_after", "pad_symmetric", "projection"]


@dataclass(frozen=True)
class Block(ABC):
    """One row of a table. `name` is its scope and end point, the paper's where there is one."""

    name: str = field(default="", kw_only=True)

    @abstractmethod
    def add(self, layers: Layers[Tensor], inputs: Tensor, name: str) -> Tensor:
        """Adds the block to `layers` under the scope `name`; returns its output.

        Raises:
          TooSmallError: the maps of `inputs` are too small.
        """

    def describe(self) -> str:
        """The block in a few words, for the layer table."""
        return type(self).__name__.lower()


@dataclass(frozen=True)
class Weighted(Settings, Block):
    """A block with weights. None takes the net's default (`Defaults`)."""


@dataclass(frozen=True)
class Conv(Weighted):
    """Convolution, then batch norm where the net has it, then activation."""

    filters: int
    kernel: Kernel
    stride: int = 1
    padding: Padding = "SAME"

    def add(self, layers: Layers[Tensor], inputs: Tensor, name: str) -> Tensor:
        window = Window(self.kernel, self.stride, self.padding)
        return layers.conv(inputs, self.filters, window, self, name)

    def describe(self) -> str:
        return f"conv {Window(self.kernel, self.stride)}"


@dataclass(frozen=True)
class DepthwiseConv(Weighted):
    """Convolution of each channel to `multiplier` maps; batch norm, activation."""

    kernel: Kernel
    stride: int = 1
    padding: Padding = "SAME"
    multiplier: int = 1

    def add(self, layers: Layers[Tensor], inputs: Tensor, name: str) -> Tensor:
        window = Window(self.kernel, self.stride, self.padding)
        return layers.depthwise_conv(inputs, self.multiplier, None, window, self, name)

    def describe(self) -> str:
        return f"depthwise conv {Window(self.kernel, self.stride)}"


@dataclass(frozen=True)
class SeparableConv(Weighted):
    """Depthwise convolution to `depth_multiplier` maps a channel, then 1x1 to `filters`.

    Batch norm and activation follow the 1x1 only.
    """

    filters: int
    kernel: Kernel
    stride: int = 1
    padding: Padding = "SAME"
    depth_multiplier: int = 1

    def add(self, layers: Layers[Tensor], inputs: Tensor, name: str) -> Tensor:
        window = Window(self.kernel, self.stride, self.padding)
        return layers.depthwise_conv(
            inputs, self.depth_multiplier, self.filters, window, self, name
        )

    def describe(self) -> str:
        return f"separable conv {Window(self.kernel, self.stride)}"


@dataclass(frozen=True)
class Pool(Block):
    """Maximum or mean of a window, over px of the map only, not of its padding."""

    kind: Literal["max", "avg"]
    kernel: Kernel
    stride: int = 1
    padding: Padding = "SAME"

    def __post_init__(self) -> None:
        if self.kind == "avg" and not isinstance(self.padding, str):
            raise ValueError("a mean pool takes SAME or VALID, not a number of px")

    def add(self, layers: Layers[Tensor], inputs: Tensor, name: str) -> Tensor:
        window = Window(self.kernel, self.stride, self.padding)
        return layers.pool(inputs, self.kind, window, name)

    def describe(self) -> str:
        return f"{self.kind} pool {Window(self.kernel, self.stride)}"


@dataclass(frozen=True)
class Mixed(Block):
    """Parallel branches over one input, joined in channels; an empty branch is the input."""

    branches: tuple[tuple[Block, ...], ...]

    def add(self, layers: Layers[Tensor], inputs: Tensor, name: str) -> Tensor:
        outputs = []
        with layers.scope(name):
            for place, branch in enumerate(self.branches, 1):
                with layers.scope(f"branch_{place}"):
                    outputs.append(fold(branch, layers, inputs))
            shapes = [layers.shape(output) for output in outputs]
            if len({shape[:2] for shape in shapes}) != 1:
                raise TooSmallError(f"branches of {name!r} end in {shapes}")
            return layers.concat(outputs)

    def describe(self) -> str:
        return f"{len(self.branches)} branches"


@dataclass(frozen=True)
class Residual(Block):
    """`body`, times `scale`, plus a shortcut around it, then `activation`.

    `Defaults.residual_scale`, where the net has it, replaces `scale`.

    Shortcuts: 'identity'; 'pad_after' and 'pad_symmetric' add zero channels, behind or on
    both sides, up to the depth of the body; all three take every `stride`-th px.
    'projection' is a linear 1x1 convolution, with batch norm where the net has it. A tuple of
    blocks is any other shortcut.

    `entry`, the batch norm and activation of a pre-activated unit (He et al.,
    arXiv:1603.05027), comes before the body and before a shortcut with weights.
    """

    body: tuple[Block, ...]
    shortcut: Shortcut | tuple[Block, ...] = "identity"
    stride: int = 1
    activation: Activation | None = None
    scale: float = 1.0
    entry: tuple[Block, ...] = ()

    def add(self, layers: Layers[Tensor], inputs: Tensor, name: str) -> Tensor:
        with layers.scope(name):
            entered = fold(self.entry, layers, inputs)
            body = fold(self.body, layers, entered)
            channels = layers.shape(body)[2]
            if self.shortcut == "projection":
                projection = Conv(channels, 1, self.stride, activation="linear")
                shortcut = projection.add(layers, entered, "shortcut")
            elif isinstance(self.shortcut, tuple):
                shortcut = fold(self.shortcut, layers, entered)
            else:
                shortcut = self._identity(layers, inputs, channels)
            if layers.shape(shortcut) != layers.shape(body):
                kind = self.shortcut if isinstance(self.shortcut, str) else "given"
                raise ValueError(
                    f"residual {name!r}: the {kind} shortcut of "
                    f"{layers.shape(inputs)} does not fit the body's {layers.shape(body)}"
                )
            scale = layers.defaults.residual_scale or self.scale
            outputs = layers.add(shortcut, body, scale)
            return layers.activation(
                outputs, self.activation or layers.defaults.activation
            )

    def _identity(
        self, layers: Layers[Tensor], inputs: Tensor, channels: int
    ) -> Tensor:
        if self.stride > 1:
            inputs = layers.subsample(inputs, self.stride)
        missing = channels - layers.shape(inputs)[2]
        if self.shortcut == "identity" or missing <= 0:
            return inputs
        before = missing // 2 if self.shortcut == "pad_symmetric" else 0
        return layers.pad_channels(inputs, before, missing - before)

    def describe(self) -> str:
        text = f"residual, {len(self.body)} layers"
        return text + (f" /{self.stride}" if self.stride > 1 else "")


@dataclass(frozen=True)
class SqueezeExcite(Block):
    """Scales each channel by a factor that two layers compute from the means of all channels.

    The first has `filters` units and `activation`, the net's by default; the second a unit
    for each channel and `gate`. Both are 1x1 convolutions with bias, without batch norm.

    Reference: Hu et al., arXiv:1709.01507.
    """

    filters: int
    activation: Activation | None = None
    gate: Activation = "sigmoid"

    def add(self, layers: Layers[Tensor], inputs: Tensor, name: str) -> Tensor:
        channels = layers.shape(inputs)[2]
        conv = partial(Conv, kernel=1, norm=False, bias=True)
        gate = (
            conv(self.filters, activation=self.activation, name="reduce"),
            conv(channels, activation=self.gate, name="expand"),
        )
        with layers.scope(name):
            means = layers.global_pool(inputs, True, "means")
            return layers.multiply(inputs, fold(gate, layers, means))

    def describe(self) -> str:
        return f"squeeze and excite, {self.filters} units"


@dataclass(frozen=True)
class InvertedResidual(Block):
    """1x1 to `expanded` channels, depthwise convolution, linear 1x1 to `filters`.

    It has a shortcut where input and output have one shape, and no first 1x1 where the input
    has `expanded` channels already. `squeeze` follows the depthwise convolution.

    Reference: Sandler et al., arXiv:1801.04381, section 3.3.
    """

    expanded: int
    filters: int
    kernel: int
    stride: int = 1
    squeeze: SqueezeExcite | None = None
    activation: Activation | None = None

    def add(self, layers: Layers[Tensor], inputs: Tensor, name: str) -> Tensor:
        channels, activation = layers.shape(inputs)[2], self.activation
        body: list[Block] = [
            DepthwiseConv(
                self.kernel, self.stride, activation=activation, name="depthwise"
            ),
            *([self.squeeze] if self.squeeze else []),
            Conv(self.filters, 1, activation="linear", name="project"),
        ]
        if channels != self.expanded:
            expand = Conv(self.expanded, 1, activation=activation, name="expand")
            body.insert(0, expand)
        if self.stride == 1 and channels == self.filters:
            unit = Residual(tuple(body), activation="linear")
            return unit.add(layers, inputs, name)
        with layers.scope(name):
            return fold(tuple(body), layers, inputs)

    def describe(self) -> str:
        window = Window(self.kernel, self.stride)
        return f"inverted residual {window}, {self.expanded} inside"


@dataclass(frozen=True)
class GlobalPool(Block):
    """Mean over height and width: [height, width, channels] -> [channels].

    With `keep_dims` -> [1, 1, channels].
    """

    keep_dims: bool = False

    def add(self, layers: Layers[Tensor], inputs: Tensor, name: str) -> Tensor:
        return layers.global_pool(inputs, self.keep_dims, name)

    def describe(self) -> str:
        return "global average pool"


@dataclass(frozen=True)
class Flatten(Block):
    """[height, width, channels] -> [height * width * channels]."""

    def add(self, layers: Layers[Tensor], inputs: Tensor, name: str) -> Tensor:
        return layers.flatten(inputs, name)


@dataclass(frozen=True)
class Dense(Weighted):
    """Fully connected, then batch norm where the net has it, then activation."""

    units: int

    def add(self, layers: Layers[Tensor], inputs: Tensor, name: str) -> Tensor:
        return layers.dense(inputs, self.units, self, name)


@dataclass(frozen=True)
class Dropout(Block):
    """Keeps each value with `keep_prob` and scales it up, in training only.

    `spatial` drops whole maps, because neighbours in a map are alike.
    """

    keep_prob: float
    spatial: bool = False

    def add(self, layers: Layers[Tensor], inputs: Tensor, name: str) -> Tensor:
        return layers.dropout(inputs, self.keep_prob, self.spatial, name)

    def describe(self) -> str:
        return f"{'spatial ' if self.spatial else ''}dropout, keep {self.keep_prob}"


@dataclass(frozen=True)
class BatchNorm(Block):
    """Batch norm alone, for nets that do not have it right before the activation."""

    gamma_init: float | None = None

    def add(self, layers: Layers[Tensor], inputs: Tensor, name: str) -> Tensor:
        if not layers.defaults.allows_norm:
            return inputs
        return layers.batch_norm(inputs, self.gamma_init, name)

    def describe(self) -> str:
        return "batch norm"


@dataclass(frozen=True)
class Activate(Block):
    """An activation alone, for the same nets; the net's own by default."""

    kind: Activation | None = None

    def add(self, layers: Layers[Tensor], inputs: Tensor, name: str) -> Tensor:
        return layers.activation(inputs, self.kind or layers.defaults.activation)

    def describe(self) -> str:
        return self.kind or "activation"


@dataclass(frozen=True)
class Scale(Block):
    """Multiplies by `factor`.

    In front of a class layer without bias it scales the logits: below 1 the net is less
    confident at the start, and its class layer learns more slowly.
    """

    factor: float

    def add(self, layers: Layers[Tensor], inputs: Tensor, name: str) -> Tensor:
        return layers.scale(inputs, self.factor)

    def describe(self) -> str:
        return f"times {self.factor:.4g}"


@dataclass(frozen=True)
class Logits:
    """The head: fully connected to the classes, always linear."""

    weight_init: WeightInit | None = None
    bias: float = 0.0
    regularised: bool | None = None
    has_bias: bool = True


@dataclass(frozen=True)
class NetSpec:
    """A net as in its paper.

    `image_size_px`, `channels` and `num_classes` are those of the reference, ImageNet's by
    default, and `parameters` the trainable parameters there: the count a build must give.
    `sources` are the published forms of its weights (`slimline weights import`).
    """

    name: str
    family: str
    parameters: int
    reference: str
    blocks: tuple[Block, ...]
    head: Logits = Logits()
    defaults: Defaults = field(default_factory=Defaults)
    sources: tuple[Source, ...] = ()
    image_size_px: int = 224
    channels: int = 3
    num_classes: int = 1000

    def logits(self, num_classes: int) -> Dense:
        """The head for `num_classes` classes."""
        return Dense(
            num_classes,
            activation="linear",
            norm=False,
            bias=self.head.has_bias,
            bias_init=self.head.bias,
            weight_init=self.head.weight_init,
            regularised=self.head.regularised,
        )


def named(blocks: tuple[Block, ...]) -> list[tuple[str, Block]]:
    """Each block with its scope: its own name, or its kind and its place from 1."""
    return [
        (block.name or f"{type(block).__name__.lower()}_{place}", block)
        for place, block in enumerate(blocks, 1)
    ]


def fold(blocks: tuple[Block, ...], layers: Layers[Tensor], inputs: Tensor) -> Tensor:
    """Adds all `blocks` in turn; returns the output of the last."""
    return reduce(
        lambda carried, row: row[1].add(layers, carried, row[0]), named(blocks), inputs
    )


def scaled(filters: int, factor: float) -> int:
    """The multiple of 8 nearest to `filters` times `factor`, never less than 0.9 of it."""
    nearest = max(8, int(filters * factor + 4) // 8 * 8)
    return nearest if nearest >= 0.9 * filters * factor else nearest + 8

"""The vocabulary of the net tables: blocks, and the spec that holds them.

A block is a frozen dataclass that knows what it does to the shape of one image; what it
does to a tensor is in `builder.py`. No TensorFlow here: tables print without loading it.

Shapes are (height, width, channels) in px, or (units,) once there are no maps any more.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from functools import reduce
from typing import Literal

from trainer.nets.published import Source

Shape = tuple[int, ...]
Kernel = int | tuple[int, int]
# An integer pads so many zeros on each side: unlike SAME it centres the first window of a
# strided convolution on the first px, for even sizes too.
Padding = Literal["SAME", "VALID"] | int
Activation = Literal["relu", "leaky_relu", "sigmoid", "tanh", "linear"]
Shortcut = Literal["identity", "pad_after", "pad_symmetric", "projection"]
ConvImpl = Literal["conv2d", "im2col"]


class TooSmallError(ValueError):
    """A map is smaller than what a block needs."""


@dataclass(frozen=True)
class WeightInit:
    """How weights begin; `stddev` counts for 'truncated_normal' only."""

    kind: Literal["he_normal", "xavier_uniform", "truncated_normal"]
    stddev: float = 0.0


HE_NORMAL = WeightInit("he_normal")
XAVIER_UNIFORM = WeightInit("xavier_uniform")


@dataclass(frozen=True)
class Block(ABC):
    """One row of a table. `name` is its scope and end point, the paper's where it has one."""

    name: str = field(default="", kw_only=True)

    @abstractmethod
    def output_shape(self, shape: Shape) -> Shape:
        """Shape of one image behind the block; TooSmallError if it does not fit."""

    def describe(self) -> str:
        """The block in a few words, for the layer table."""
        return type(self).__name__.lower()


@dataclass(frozen=True)
class Weighted(Block):
    """A block with weights. None takes the net's default (`Defaults`)."""

    activation: Activation | None = field(default=None, kw_only=True)
    norm: bool | None = field(default=None, kw_only=True)
    bias: bool | None = field(default=None, kw_only=True)
    weight_init: WeightInit | None = field(default=None, kw_only=True)
    regularised: bool | None = field(default=None, kw_only=True)


@dataclass(frozen=True)
class Conv(Weighted):
    """Convolution, then batch norm where the net has it, then activation."""

    filters: int
    kernel: Kernel
    stride: int = 1
    padding: Padding = "SAME"

    def output_shape(self, shape: Shape) -> Shape:
        return (*_windows(shape, self.kernel, self.stride, self.padding), self.filters)

    def describe(self) -> str:
        return f"conv {_window_text(self.kernel, self.stride)}"


@dataclass(frozen=True)
class SeparableConv(Weighted):
    """Depthwise convolution to `depth_multiplier` maps a channel, then 1x1 to `filters`.

    Batch norm and activation follow the 1x1 only.
    """

    filters: int
    kernel: Kernel
    stride: int = 1
    padding: Literal["SAME", "VALID"] = "SAME"
    depth_multiplier: int = 1

    def output_shape(self, shape: Shape) -> Shape:
        return (*_windows(shape, self.kernel, self.stride, self.padding), self.filters)

    def describe(self) -> str:
        return f"separable conv {_window_text(self.kernel, self.stride)}"


@dataclass(frozen=True)
class Pool(Block):
    """Maximum or mean of a window; the mean counts px of the map only, not its padding."""

    kind: Literal["max", "avg"]
    kernel: Kernel
    stride: int = 1
    padding: Literal["SAME", "VALID"] = "SAME"

    def output_shape(self, shape: Shape) -> Shape:
        return (*_windows(shape, self.kernel, self.stride, self.padding), shape[2])

    def describe(self) -> str:
        return f"{self.kind} pool {_window_text(self.kernel, self.stride)}"


@dataclass(frozen=True)
class Mixed(Block):
    """Parallel branches over one input, joined in channels; an empty branch passes it on."""

    branches: tuple[tuple[Block, ...], ...]

    def output_shape(self, shape: Shape) -> Shape:
        outputs = [fold_shape(branch, shape) for branch in self.branches]
        if len({output[:2] for output in outputs}) != 1:
            raise TooSmallError(f"branches of {self.name!r} end in {outputs}")
        return (*outputs[0][:2], sum(output[2] for output in outputs))

    def describe(self) -> str:
        return f"{len(self.branches)} branches"


@dataclass(frozen=True)
class Residual(Block):
    """`body`, scaled, plus a shortcut around it, then `activation`.

    The scale is the net's (`Defaults.residual_scale`). Shortcuts: 'identity'; 'pad_after'
    and 'pad_symmetric' take every `stride`-th px and add zero channels, behind or on both
    sides, up to the depth of the body; 'projection' is a 1x1 convolution with batch norm
    where the net has it, linear.
    """

    body: tuple[Block, ...]
    shortcut: Shortcut = "identity"
    stride: int = 1
    activation: Activation | None = None

    def output_shape(self, shape: Shape) -> Shape:
        output = fold_shape(self.body, shape)
        skipped = _windows(shape, 1, self.stride, "SAME")
        grows = self.shortcut != "identity" and output[2] >= shape[2]
        if output[:2] != skipped or not (
            grows or self.shortcut == "projection" or output == shape
        ):
            raise ValueError(
                f"residual {self.name!r}: the {self.shortcut} shortcut of {shape} does not "
                f"fit the body's {output}"
            )
        return output

    def describe(self) -> str:
        layers = f"residual, {len(self.body)} layers"
        return layers + (f" /{self.stride}" if self.stride > 1 else "")


@dataclass(frozen=True)
class GlobalPool(Block):
    """Mean over height and width: [height, width, channels] -> [channels]."""

    def output_shape(self, shape: Shape) -> Shape:
        return (shape[2],)

    def describe(self) -> str:
        return "global average pool"


@dataclass(frozen=True)
class Flatten(Block):
    """[height, width, channels] -> [height * width * channels]."""

    def output_shape(self, shape: Shape) -> Shape:
        return (reduce(lambda left, right: left * right, shape),)


@dataclass(frozen=True)
class Dense(Weighted):
    """Fully connected, then batch norm where the net has it, then activation."""

    units: int

    def output_shape(self, shape: Shape) -> Shape:
        return (*shape[:-1], self.units)


@dataclass(frozen=True)
class Dropout(Block):
    """Keeps each value with `keep_prob` and scales it up, in training only.

    `spatial` drops whole maps: neighbours in a map are too alike to be dropped singly.
    """

    keep_prob: float
    spatial: bool = False

    def output_shape(self, shape: Shape) -> Shape:
        return shape

    def describe(self) -> str:
        return f"{'spatial ' if self.spatial else ''}dropout, keep {self.keep_prob}"


@dataclass(frozen=True)
class BatchNorm(Block):
    """Batch norm alone, for nets that put it elsewhere than before the activation."""

    def output_shape(self, shape: Shape) -> Shape:
        return shape

    def describe(self) -> str:
        return "batch norm"


@dataclass(frozen=True)
class Activate(Block):
    """An activation alone, for the same nets."""

    kind: Activation

    def output_shape(self, shape: Shape) -> Shape:
        return shape

    def describe(self) -> str:
        return self.kind


@dataclass(frozen=True)
class Logits:
    """The head: fully connected to the classes, with bias, always linear."""

    weight_init: WeightInit | None = None
    bias: float = 0.0
    regularised: bool | None = None


@dataclass(frozen=True)
class Defaults:
    """What a net's blocks share; becomes the arg scope.

    `bias` None means a bias where there is no batch norm to take it away again.
    `regularised` says whether weights bear the L2 loss; biases and batch norm never do.
    `residual_scale` multiplies the bodies of residual blocks; below 1 it steadies wide
    ones (Szegedy et al., arXiv:1602.07261, section 3.3).
    `conv_impl` computes convolutions by TensorFlow's kernel or by patches and a matrix
    product, with the same variables and results.
    """

    weight_init: WeightInit = XAVIER_UNIFORM
    activation: Activation = "relu"
    norm: bool = True
    bias: bool | None = None
    norm_decay: float = 0.9
    norm_epsilon: float = 1e-5
    norm_scale: bool = True
    regularised: bool = True
    residual_scale: float = 1.0
    conv_impl: ConvImpl = "conv2d"


@dataclass(frozen=True)
class NetSpec:
    """A net as its paper prints it.

    `image_size_px`, `channels` and `num_classes` are those of the reference, and
    `parameters` the trainable parameters there: the count a build must give. `sources` are
    the published forms of its weights (`slimline weights import`).
    """

    name: str
    family: str
    image_size_px: int
    channels: int
    num_classes: int
    parameters: int
    reference: str
    blocks: tuple[Block, ...]
    head: Logits = Logits()
    defaults: Defaults = Defaults()
    sources: tuple[Source, ...] = ()


def named(blocks: tuple[Block, ...]) -> list[tuple[str, Block]]:
    """Each block with its scope: its own name, else its kind and place from 1."""
    return [
        (block.name or f"{type(block).__name__.lower()}_{place}", block)
        for place, block in enumerate(blocks, 1)
    ]


def fold_shape(blocks: tuple[Block, ...], shape: Shape) -> Shape:
    """Shape of one image behind all `blocks` in turn."""
    return reduce(lambda carried, block: block.output_shape(carried), blocks, shape)


def kernel_sides(kernel: Kernel) -> tuple[int, int]:
    """Height and width of a kernel in px."""
    return (kernel, kernel) if isinstance(kernel, int) else kernel


def _windows(
    shape: Shape, kernel: Kernel, stride: int, padding: Padding
) -> tuple[int, int]:
    height, width = kernel_sides(kernel)
    return (
        _window_count(shape[0], height, stride, padding),
        _window_count(shape[1], width, stride, padding),
    )


def _window_count(size_px: int, kernel_px: int, stride: int, padding: Padding) -> int:
    # With SAME a stride over a single px runs, but has nothing to halve.
    if size_px < stride:
        raise TooSmallError(f"stride {stride} over {size_px} px")
    if padding == "SAME":
        return -(-size_px // stride)
    padded_px = size_px + (0 if padding == "VALID" else 2 * padding)
    if padded_px < kernel_px:
        raise TooSmallError(f"kernel of {kernel_px} px over {padded_px} px")
    return (padded_px - kernel_px) // stride + 1


def _window_text(kernel: Kernel, stride: int) -> str:
    height, width = kernel_sides(kernel)
    return f"{height}x{width}" + (f" /{stride}" if stride > 1 else "")

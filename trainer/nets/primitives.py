"""The few operations that all blocks consist of, as an interface for interpreters.

`Block.add` describes a block once, with the methods of `Layers`. Interpreters turn it into
shapes and costs (`geometry.py`), a graph (`slim_layers.py`), and models of Keras and PyTorch
(the peers of the benchmarks). No TensorFlow here.

Shapes are (height, width, channels) in px, or (units,) behind a flatten or a global pool.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

Shape = tuple[int, ...]
Kernel = int | tuple[int, int]
# An integer pads so many zeros on each side, a pair so many before and behind. Unlike with
# SAME, the first window of a strided convolution then has the same place for even sizes.
Padding = Literal["SAME", "VALID"] | int | tuple[int, int]
Activation = Literal[
    "relu",
    "relu6",
    "leaky_relu",
    "sigmoid",
    "hard_sigmoid",
    "swish",
    "hard_swish",
    "gelu",
    "tanh",
    "linear",
]
ConvImpl = Literal["conv2d", "im2col"]
InitKind = Literal[
    "he_normal", "xavier_uniform", "truncated_normal", "fan_in_uniform", "dirac"
]
# Slope of the leaky ReLU below zero: that of the system whose nets use it.
LEAKY_SLOPE = 0.02

Tensor = TypeVar("Tensor")


class TooSmallError(ValueError):
    """A map is too small for a block."""


@dataclass(frozen=True)
class WeightInit:
    """Initial values of weights; `stddev` is for 'truncated_normal' only.

    'fan_in_uniform' draws from -1 to 1 over the square root of the inputs of a unit, as
    PyTorch does by default. With 'dirac' the first filters of a convolution are the identity
    of one channel each; the others, depthwise filters and all units of a dense layer are
    'fan_in_uniform' (Zagoruyko and Komodakis, arXiv:1706.00388, section 2, for weights only).
    """

    kind: InitKind
    stddev: float = 0.0


HE_NORMAL = WeightInit("he_normal")
XAVIER_UNIFORM = WeightInit("xavier_uniform")
DIRAC = WeightInit("dirac")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings of a layer with weights; None takes the net's `Defaults`.

    `bias` None, there too, means a bias where there is no batch norm to cancel it.
    `bias_init` is the initial value of biases, `gamma_init` that of batch norm's factors: 0
    in the last layer of a residual body makes the block start as its shortcut.
    """

    activation: Activation | None = None
    norm: bool | None = None
    bias: bool | None = None
    weight_init: WeightInit | None = None
    regularised: bool | None = None
    bias_init: float | None = None
    gamma_init: float | None = None


@dataclass(frozen=True)
class Resolved:
    """The settings of a layer with the net's defaults filled in."""

    activation: Activation
    norm: bool
    bias: bool
    weight_init: WeightInit
    regularised: bool
    bias_init: float | None
    gamma_init: float | None


@dataclass(frozen=True)
class Defaults:
    """Settings that a net's blocks share.

    `bias` None means a bias where there is no batch norm to cancel it.
    `regularised`: weights have an L2 loss; biases and batch norm never do.
    `residual_scale` multiplies the bodies of residual blocks, in place of their own scales;
    below 1 it stabilises wide ones (Szegedy et al., arXiv:1602.07261, section 3.3).
    `conv_impl` computes convolutions by TensorFlow's kernel or by patches and a matrix
    product, with the same variables and results.
    `allows_norm` False removes every batch norm of the net.
    """

    weight_init: WeightInit = XAVIER_UNIFORM
    activation: Activation = "relu"
    norm: bool = True
    bias: bool | None = None
    norm_decay: float = 0.9
    norm_epsilon: float = 1e-5
    norm_scale: bool = True
    regularised: bool = True
    residual_scale: float | None = None
    conv_impl: ConvImpl = "conv2d"
    allows_norm: bool = True


@dataclass(frozen=True)
class Window:
    """Kernel, stride and padding of a convolution or a pool."""

    kernel: Kernel
    stride: int = 1
    padding: Padding = "SAME"

    @property
    def sides(self) -> tuple[int, int]:
        """Height and width of the kernel in px."""
        return _pair(self.kernel)

    @property
    def margins(self) -> tuple[int, int] | None:
        """Px of padding before and behind, of both axes; None with SAME and VALID."""
        return None if isinstance(self.padding, str) else _pair(self.padding)

    @property
    def scheme(self) -> Literal["SAME", "VALID"]:
        """How the map is padded, once any margins have been added to it."""
        return self.padding if isinstance(self.padding, str) else "VALID"

    def places(self, shape: Shape) -> tuple[int, int]:
        """Windows from top to bottom and from left to right; TooSmallError if none fits."""
        height_px, width_px = self.sides
        return self._places(shape[0], height_px), self._places(shape[1], width_px)

    def _places(self, size_px: int, kernel_px: int) -> int:
        # With SAME a stride over a single px runs, but has nothing to halve.
        if size_px < self.stride:
            raise TooSmallError(f"stride {self.stride} over {size_px} px")
        if self.padding == "SAME":
            return -(-size_px // self.stride)
        padded_px = size_px + sum(self.margins or ())
        if padded_px < kernel_px:
            raise TooSmallError(f"kernel of {kernel_px} px over {padded_px} px")
        return (padded_px - kernel_px) // self.stride + 1

    def __str__(self) -> str:
        height, width = self.sides
        return f"{height}x{width}" + (f" /{self.stride}" if self.stride > 1 else "")


def _pair(sides: int | tuple[int, int]) -> tuple[int, int]:
    return (sides, sides) if isinstance(sides, int) else sides


class Layers(ABC, Generic[Tensor]):
    """Interprets the layers of a net.

    A `Tensor` is the interpreter's own kind of value, of [batch, height, width, channels]
    or [batch, units]. Layers with weights end in bias or batch norm and activation, by their
    `settings`. `name` is the layer's scope.
    """

    def __init__(self, defaults: Defaults) -> None:
        self.defaults = defaults

    def resolved(self, settings: Settings) -> Resolved:
        """`settings` with the net's defaults filled in."""
        defaults = self.defaults
        norm = defaults.norm if settings.norm is None else settings.norm
        norm = norm and defaults.allows_norm
        bias = defaults.bias if settings.bias is None else settings.bias
        regularised = settings.regularised
        return Resolved(
            settings.activation or defaults.activation,
            norm,
            not norm if bias is None else bias,
            settings.weight_init or defaults.weight_init,
            defaults.regularised if regularised is None else regularised,
            settings.bias_init,
            settings.gamma_init,
        )

    def scope(self, name: str) -> AbstractContextManager[object]:
        """Context in which layers belong to `name`."""
        return nullcontext()

    @abstractmethod
    def shape(self, inputs: Tensor) -> Shape:
        """Shape of one image."""

    @abstractmethod
    def conv(
        self,
        inputs: Tensor,
        filters: int,
        window: Window,
        settings: Settings,
        name: str,
    ) -> Tensor:
        """Convolution."""

    @abstractmethod
    def depthwise_conv(
        self,
        inputs: Tensor,
        multiplier: int,
        filters: int | None,
        window: Window,
        settings: Settings,
        name: str,
    ) -> Tensor:
        """Convolution of each channel to `multiplier` maps, then 1x1 to `filters` if any.

        Bias, batch norm and activation come once, at the end.
        """

    @abstractmethod
    def dense(
        self, inputs: Tensor, units: int, settings: Settings, name: str
    ) -> Tensor:
        """Fully connected over the last axis."""

    @abstractmethod
    def batch_norm(self, inputs: Tensor, gamma_init: float | None, name: str) -> Tensor:
        """Batch norm over all axes but the last; factors start at 1 by default."""

    @abstractmethod
    def activation(self, inputs: Tensor, kind: Activation) -> Tensor:
        """Activation."""

    @abstractmethod
    def pool(
        self, inputs: Tensor, kind: Literal["max", "avg"], window: Window, name: str
    ) -> Tensor:
        """Maximum or mean of each window; padding does not count."""

    @abstractmethod
    def global_pool(self, inputs: Tensor, keep_dims: bool, name: str) -> Tensor:
        """Mean over height and width, which `keep_dims` keeps as axes of 1."""

    @abstractmethod
    def flatten(self, inputs: Tensor, name: str) -> Tensor:
        """All of an image in one axis, channels last."""

    @abstractmethod
    def dropout(
        self, inputs: Tensor, keep_prob: float, is_spatial: bool, name: str
    ) -> Tensor:
        """Zeroes values, or whole maps, in training only."""

    @abstractmethod
    def subsample(self, inputs: Tensor, stride: int) -> Tensor:
        """Every `stride`-th px of both axes, from the first."""

    @abstractmethod
    def pad_channels(self, inputs: Tensor, before: int, behind: int) -> Tensor:
        """Maps of zeros on both sides."""

    @abstractmethod
    def concat(self, inputs: Sequence[Tensor]) -> Tensor:
        """Maps joined in channels."""

    @abstractmethod
    def add(self, shortcut: Tensor, body: Tensor, scale: float) -> Tensor:
        """`shortcut` plus `scale` times `body`."""

    @abstractmethod
    def multiply(self, inputs: Tensor, factors: Tensor) -> Tensor:
        """Product; `factors` may have axes of 1 for height and width."""

    @abstractmethod
    def scale(self, inputs: Tensor, factor: float) -> Tensor:
        """Product with a constant."""

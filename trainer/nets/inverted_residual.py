"""The unit of the nets for small machines, and how they round their widths."""

from __future__ import annotations

from dataclasses import dataclass

from trainer.nets.blocks import (
    Block,
    Conv,
    DepthwiseConv,
    Residual,
    SqueezeExcite,
    fold,
)
from trainer.nets.primitives import Activation, Layers, Tensor, Window


@dataclass(frozen=True)
class InvertedResidual(Block):
    """1x1 to `expanded` channels, depthwise convolution, linear 1x1 to `filters`.

    With a shortcut where input and output have one shape; without the first 1x1 where the
    input has `expanded` channels already. `squeeze` comes behind the depthwise convolution.

    Reference: Sandler et al., arXiv:1801.04381, section 3.3.
    """

    expanded: int
    filters: int
    kernel: int
    stride: int = 1
    squeeze: SqueezeExcite | None = None
    activation: Activation | None = None

    def add(self, layers: Layers[Tensor], inputs: Tensor, name: str) -> Tensor:
        channels = layers.shape(inputs)[2]
        expand = Conv(self.expanded, 1, activation=self.activation, name="expand")
        depthwise = DepthwiseConv(
            self.kernel, self.stride, activation=self.activation, name="depthwise"
        )
        body: tuple[Block, ...] = (
            *([] if channels == self.expanded else [expand]),
            depthwise,
            *([self.squeeze] if self.squeeze else []),
            Conv(self.filters, 1, activation="linear", name="project"),
        )
        if self.stride == 1 and channels == self.filters:
            return Residual(body, activation="linear").add(layers, inputs, name)
        with layers.scope(name):
            return fold(body, layers, inputs)

    def describe(self) -> str:
        window = Window(self.kernel, self.stride)
        return f"inverted residual {window}, {self.expanded} inside"


def scaled(filters: int, factor: float) -> int:
    """The multiple of 8 nearest to `filters` times `factor`, never less than 0.9 of it."""
    nearest = max(8, int(filters * factor + 4) // 8 * 8)
    return nearest if nearest >= 0.9 * filters * factor else nearest + 8

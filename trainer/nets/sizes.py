"""Shapes and costs of blocks, from the table alone.

Both are counted again from the graph in the tests, for every net.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Literal

from trainer.nets.blocks import Block
from trainer.nets.primitives import (
    Activation,
    Defaults,
    Layers,
    Settings,
    Shape,
    Window,
)


@dataclass(frozen=True)
class Cost:
    """Attributes:
    parameters: trainable ones.
    multiply_adds: of one image through convolutions and matrix products; biases, batch
      norm, activations and pools are left out, as is usual.
    """

    parameters: int = 0
    multiply_adds: int = 0


def measure(block: Block, shape: Shape, defaults: Defaults) -> tuple[Shape, Cost]:
    """Shape of one image behind `block`, and what the block costs.

    Raises:
      TooSmallError: an image of `shape` is too small for it.
      ValueError: its parts do not fit each other.
    """
    sizes = Sizes(defaults)
    shape = block.add(sizes, shape, block.name)
    return shape, Cost(sizes.parameters, sizes.multiply_adds)


class Sizes(Layers[Shape]):
    """Adds up parameters and multiply-adds; its tensors are the shapes of one image."""

    def __init__(self, defaults: Defaults) -> None:
        super().__init__(defaults)
        self.parameters = 0
        self.multiply_adds = 0
        self.convolutions = 0
        self.depthwise_convolutions = 0

    def shape(self, inputs: Shape) -> Shape:
        return inputs

    def conv(
        self, inputs: Shape, filters: int, window: Window, settings: Settings, name: str
    ) -> Shape:
        self.convolutions += 1
        outputs = (*window.places(inputs), filters)
        return self._add(outputs, prod(window.sides) * inputs[2] * filters, settings)

    def depthwise_conv(
        self,
        inputs: Shape,
        multiplier: int,
        filters: int | None,
        window: Window,
        settings: Settings,
        name: str,
    ) -> Shape:
        self.convolutions += 1
        self.depthwise_convolutions += 1
        maps = inputs[2] * multiplier
        outputs = (*window.places(inputs), filters or maps)
        weights = (prod(window.sides) + (filters or 0)) * maps
        return self._add(outputs, weights, settings)

    def dense(self, inputs: Shape, units: int, settings: Settings, name: str) -> Shape:
        return self._add((*inputs[:-1], units), inputs[-1] * units, settings)

    def batch_norm(self, inputs: Shape, gamma_init: float | None, name: str) -> Shape:
        self.parameters += inputs[-1] * (2 if self.defaults.norm_scale else 1)
        return inputs

    def activation(self, inputs: Shape, kind: Activation) -> Shape:
        return inputs

    def pool(
        self, inputs: Shape, kind: Literal["max", "avg"], window: Window, name: str
    ) -> Shape:
        return (*window.places(inputs), inputs[2])

    def global_pool(self, inputs: Shape, keep_dims: bool, name: str) -> Shape:
        return (1, 1, inputs[2]) if keep_dims else (inputs[2],)

    def flatten(self, inputs: Shape, name: str) -> Shape:
        return (prod(inputs),)

    def dropout(
        self, inputs: Shape, keep_prob: float, is_spatial: bool, name: str
    ) -> Shape:
        return inputs

    def subsample(self, inputs: Shape, stride: int) -> Shape:
        return (*Window(1, stride).places(inputs), inputs[2])

    def pad_channels(self, inputs: Shape, before: int, behind: int) -> Shape:
        return (*inputs[:2], before + inputs[2] + behind)

    def concat(self, inputs: Sequence[Shape]) -> Shape:
        return (*inputs[0][:2], sum(shape[2] for shape in inputs))

    def add(self, shortcut: Shape, body: Shape, scale: float) -> Shape:
        return body

    def multiply(self, inputs: Shape, factors: Shape) -> Shape:
        return inputs

    def scale(self, inputs: Shape, factor: float) -> Shape:
        return inputs

    def _add(self, outputs: Shape, weights: int, settings: Settings) -> Shape:
        resolved = self.resolved(settings)
        self.parameters += weights + (outputs[-1] if resolved.bias else 0)
        self.multiply_adds += weights * prod(outputs[:-1])
        if resolved.norm:
            self.batch_norm(outputs, resolved.gamma_init, "")
        return outputs

"""Shapes and costs of nets and blocks, from their tables alone.

The tests count both again from the graph, for every net.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from math import prod
from typing import Literal

from common import errors
from trainer import lookup
from trainer.nets.blocks import CLASS_LAYER, Block, NetSpec, fold, named
from trainer.nets.primitives import (
    Activation,
    Defaults,
    Layers,
    Settings,
    Shape,
    TooSmallError,
    Window,
)

LARGEST_TRIED_PX = 1024


@dataclass(frozen=True)
class Row:
    """A row of the layer table; `shape` is the block's output for one image."""

    name: str
    description: str
    shape: Shape
    cost: Cost


def layer_rows(
    spec: NetSpec,
    *,
    image_size_px: int | None = None,
    channels: int | None = None,
    num_classes: int | None = None,
) -> list[Row]:
    """The layer table of a net, input first and logits last; the reference's by default.

    Raises:
      ConfigError: the image is too small for the net.
    """
    size_px = spec.image_size_px if image_size_px is None else image_size_px
    check_image_size(spec, size_px, size_px)
    shape: Shape = (size_px, size_px, spec.channels if channels is None else channels)
    rows = [Row("images", "input", shape, Cost())]
    for name, block in named(spec.blocks):
        shape, cost = measure(block, shape, spec.defaults)
        rows.append(Row(name, block.describe(), shape, cost))
    head = spec.logits(spec.num_classes if num_classes is None else num_classes)
    shape, cost = measure(head, shape, spec.defaults)
    return [*rows, Row(CLASS_LAYER, "dense, linear", shape, cost)]


@cache
def smallest_input_px(spec: NetSpec) -> int:
    """Side of the smallest square image the net takes, in px.

    It is the smallest for which every window without padding fits its map and every stride
    has at least as many px. A smaller image would still run with SAME padding, but the last
    maps would be halvings of a single px.

    Raises:
      ValueError: no size up to `LARGEST_TRIED_PX` fits, so the table is wrong.
    """
    for size_px in range(1, LARGEST_TRIED_PX + 1):
        try:
            fold(spec.blocks, Sizes(spec.defaults), (size_px, size_px, spec.channels))
        except TooSmallError:
            continue
        return size_px
    raise ValueError(f"no input up to {LARGEST_TRIED_PX} px fits the net {spec.name!r}")


def depthwise_share(spec: NetSpec) -> float:
    """Share of a net's convolutions that are depthwise."""
    sizes = Sizes(spec.defaults)
    fold(spec.blocks, sizes, (spec.image_size_px, spec.image_size_px, spec.channels))
    return sizes.depthwise_convolutions / max(sizes.convolutions, 1)


def check_image_size(spec: NetSpec, height_px: int, width_px: int) -> None:
    """Raises ConfigError if an image of that size is too small for the net."""
    smallest_px = smallest_input_px(spec)
    if min(height_px, width_px) < smallest_px:
        raise errors.ConfigError(
            f"images of {height_px} x {width_px} px are too small for the net "
            f"{spec.name!r}",
            found=f"{height_px} x {width_px} px",
            expected=f"at least {smallest_px} x {smallest_px} px",
            tip=f"enlarge the images to {smallest_px} px or more, or choose a net with fewer "
            "halvings",
        )


def is_row_of(name: str, rows: Sequence[str]) -> bool:
    """Whether the row `name` is one of `rows` or belongs to the group one of them names."""
    return any(name == row or name.startswith(f"{row}/") for row in rows)


def check_rows(spec: NetSpec, rows: Sequence[str]) -> None:
    """Raises ConfigError for a name in `rows` that no row or group of rows has."""
    names = [*(name for name, _ in named(spec.blocks)), CLASS_LAYER]
    groups = {name.partition("/")[0] for name in names}
    for row in rows:
        if not any(is_row_of(name, [row]) for name in names):
            near = lookup.nearest(row, [*names, *groups])
            guess = f"did you mean {near!r}? " if near else ""
            raise errors.ConfigError(
                f"the net {spec.name!r} has no row {row!r}",
                tip=f"{guess}slimline nets {spec.name} lists them",
            )


@dataclass(frozen=True)
class Cost:
    """Cost of a block.

    Attributes:
      parameters: trainable ones.
      multiply_adds: of convolutions and matrix products for one image.
    """

    parameters: int = 0
    multiply_adds: int = 0


def measure(block: Block, shape: Shape, defaults: Defaults) -> tuple[Shape, Cost]:
    """Shape of one image behind `block`, and the cost of the block.

    Raises:
      TooSmallError: an image of `shape` is too small.
      ValueError: the parts of the block do not fit each other.
    """
    sizes = Sizes(defaults)
    shape = block.add(sizes, shape, block.name)
    return shape, Cost(sizes.parameters, sizes.multiply_adds)


class Sizes(Layers[Shape]):
    """Sums up parameters and multiply-adds; its tensors are the shapes of one image."""

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

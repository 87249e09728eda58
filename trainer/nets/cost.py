"""What a block costs, from the table alone: parameters and multiply-adds.

Both are counted anew from the graph in the tests, for every net.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import singledispatch
from math import prod

from trainer.nets import blocks
from trainer.nets.blocks import Shape


@dataclass(frozen=True)
class Cost:
    """Attributes:
    parameters: trainable ones.
    multiply_adds: of one image through convolutions and matrix products; biases, batch
      norm, activations and pools are left out, as is usual.
    """

    parameters: int = 0
    multiply_adds: int = 0

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            self.parameters + other.parameters, self.multiply_adds + other.multiply_adds
        )


@singledispatch
def cost(block: blocks.Block, shape: Shape, defaults: blocks.Defaults) -> Cost:
    """Cost of `block` over one image of `shape`; blocks without weights cost nothing."""
    return Cost()


@cost.register
def _conv(block: blocks.Conv, shape: Shape, defaults: blocks.Defaults) -> Cost:
    height_px, width_px, filters = block.output_shape(shape)
    weights = prod(blocks.kernel_sides(block.kernel)) * shape[2] * filters
    return _weighted(block, filters, weights, weights * height_px * width_px, defaults)


@cost.register
def _separable_conv(
    block: blocks.SeparableConv, shape: Shape, defaults: blocks.Defaults
) -> Cost:
    height_px, width_px, filters = block.output_shape(shape)
    maps = shape[2] * block.depth_multiplier
    weights = prod(blocks.kernel_sides(block.kernel)) * maps + maps * filters
    return _weighted(block, filters, weights, weights * height_px * width_px, defaults)


@cost.register
def _dense(block: blocks.Dense, shape: Shape, defaults: blocks.Defaults) -> Cost:
    weights = shape[-1] * block.units
    multiply_adds = weights * prod(shape[:-1])
    return _weighted(block, block.units, weights, multiply_adds, defaults)


@cost.register
def _batch_norm(
    block: blocks.BatchNorm, shape: Shape, defaults: blocks.Defaults
) -> Cost:
    return Cost(parameters=_norm_parameters(shape[-1], defaults))


@cost.register
def _mixed(block: blocks.Mixed, shape: Shape, defaults: blocks.Defaults) -> Cost:
    return sum(
        (fold_cost(branch, shape, defaults) for branch in block.branches), Cost()
    )


@cost.register
def _residual(block: blocks.Residual, shape: Shape, defaults: blocks.Defaults) -> Cost:
    body = fold_cost(block.body, shape, defaults)
    if block.shortcut != "projection":
        return body
    channels = blocks.fold_shape(block.body, shape)[2]
    return body + cost(blocks.Conv(channels, 1, block.stride), shape, defaults)


def fold_cost(
    table: tuple[blocks.Block, ...], shape: Shape, defaults: blocks.Defaults
) -> Cost:
    """Cost of all blocks of `table` in turn over one image of `shape`."""
    total = Cost()
    for block in table:
        total += cost(block, shape, defaults)
        shape = block.output_shape(shape)
    return total


def _weighted(
    block: blocks.Weighted,
    channels: int,
    weights: int,
    multiply_adds: int,
    defaults: blocks.Defaults,
) -> Cost:
    has_norm = defaults.norm if block.norm is None else block.norm
    bias = defaults.bias if block.bias is None else block.bias
    has_bias = not has_norm if bias is None else bias
    norm = _norm_parameters(channels, defaults) if has_norm else 0
    return Cost(weights + norm + (channels if has_bias else 0), multiply_adds)


def _norm_parameters(channels: int, defaults: blocks.Defaults) -> int:
    return channels * (2 if defaults.norm_scale else 1)

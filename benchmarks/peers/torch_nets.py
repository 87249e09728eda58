"""The tables of `trainer.nets` as PyTorch modules.

The layers are PyTorch's own, with the settings a user of PyTorch would give them: no bias
beside batch norm, ReLU in place, padding of half a kernel where the table says SAME. Shapes
are those of the table, so the work is the same; where a stride meets an even size the
windows lie one px aside of TensorFlow's. Weights begin as PyTorch begins them.

Imports no TensorFlow: `trainer.nets.blocks` and the tables need none.
"""

from collections.abc import Iterable
from functools import singledispatchmethod

import torch
from torch import nn
from torch.nn import functional

from trainer.nets import blocks

# As `trainer.nets.block_ops` has it.
LEAKY_SLOPE = 0.02


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
    shape: blocks.Shape = (image_size_px, image_size_px, spec.channels)
    body, shape = _Converter(spec).fold(spec.blocks, shape)
    return nn.Sequential(*body, nn.Linear(shape[-1], num_classes))


def count_trainable(module: nn.Module) -> int:
    """Parameters that the optimizer moves."""
    return sum(
        parameter.numel()
        for parameter in module.parameters()
        if parameter.requires_grad
    )


class Branches(nn.Module):
    """Parallel branches over one input, joined in channels."""

    def __init__(self, branches: Iterable[nn.Module]) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return torch.cat([branch(inputs) for branch in self.branches], dim=1)


class Residual(nn.Module):
    """A body, scaled, plus a shortcut around it, then an activation."""

    def __init__(
        self,
        body: nn.Module,
        shortcut: nn.Module,
        activation: nn.Module,
        scale: float,
    ) -> None:
        super().__init__()
        self.body = body
        self.shortcut = shortcut
        self.activation = activation
        self.scale = scale

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        outputs = self.body(inputs)
        if self.scale != 1:
            outputs = outputs * self.scale
        return self.activation(outputs + self.shortcut(inputs))


class PaddedIdentity(nn.Module):
    """Every `stride`-th px, with channels of zeros before and behind."""

    def __init__(self, stride: int, before: int, behind: int) -> None:
        super().__init__()
        self.stride = stride
        self.channels = (0, 0, 0, 0, before, behind)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        taken = inputs[:, :, :: self.stride, :: self.stride]
        return functional.pad(taken, self.channels)


class _Converter:
    """Makes the modules of blocks, following the shape of one image through them."""

    def __init__(self, spec: blocks.NetSpec) -> None:
        self._defaults = spec.defaults

    def fold(
        self, table: tuple[blocks.Block, ...], shape: blocks.Shape
    ) -> tuple[nn.Sequential, blocks.Shape]:
        """All blocks of `table` in turn, and the shape behind them."""
        modules = []
        for block in table:
            modules.append(self.make(block, shape))
            shape = block.output_shape(shape)
        return nn.Sequential(*modules), shape

    @singledispatchmethod
    def make(self, block: blocks.Block, shape: blocks.Shape) -> nn.Module:
        """The module of `block` for images of `shape`."""
        raise TypeError(f"there is no PyTorch module for blocks of {type(block)}")

    @make.register
    def _conv(self, block: blocks.Conv, shape: blocks.Shape) -> nn.Module:
        convolution = nn.Conv2d(
            shape[2],
            block.filters,
            block.kernel,
            stride=block.stride,
            padding=_padding(block.kernel, block.padding),
            bias=self._has_bias(block),
        )
        return nn.Sequential(convolution, *self._behind(block, block.filters))

    @make.register
    def _separable_conv(
        self, block: blocks.SeparableConv, shape: blocks.Shape
    ) -> nn.Module:
        depth = shape[2] * block.depth_multiplier
        depthwise = nn.Conv2d(
            shape[2],
            depth,
            block.kernel,
            stride=block.stride,
            padding=_padding(block.kernel, block.padding),
            groups=shape[2],
            bias=False,
        )
        pointwise = nn.Conv2d(depth, block.filters, 1, bias=self._has_bias(block))
        behind = self._behind(block, block.filters)
        return nn.Sequential(depthwise, pointwise, *behind)

    @make.register
    def _dense(self, block: blocks.Dense, shape: blocks.Shape) -> nn.Module:
        linear = nn.Linear(shape[0], block.units, bias=self._has_bias(block))
        return nn.Sequential(linear, *self._behind(block, block.units, maps=False))

    @make.register
    def _pool(self, block: blocks.Pool, shape: blocks.Shape) -> nn.Module:
        sides = blocks.kernel_sides(block.kernel)
        is_even = block.padding == "SAME" and sides[0] % 2 == 0
        padding = (0, 0) if is_even else _padding(block.kernel, block.padding)
        if block.kind == "max":
            return nn.MaxPool2d(sides, block.stride, padding, ceil_mode=is_even)
        return nn.AvgPool2d(
            sides, block.stride, padding, ceil_mode=is_even, count_include_pad=False
        )

    @make.register
    def _mixed(self, block: blocks.Mixed, shape: blocks.Shape) -> nn.Module:
        return Branches(self.fold(branch, shape)[0] for branch in block.branches)

    @make.register
    def _residual(self, block: blocks.Residual, shape: blocks.Shape) -> nn.Module:
        body, output_shape = self.fold(block.body, shape)
        missing = output_shape[2] - shape[2]
        shortcut: nn.Module = nn.Identity()
        if block.shortcut == "projection":
            projection = blocks.Conv(
                output_shape[2], 1, stride=block.stride, activation="linear"
            )
            shortcut = self.make(projection, shape)
        elif missing or block.stride > 1:
            before = missing // 2 if block.shortcut == "pad_symmetric" else 0
            shortcut = PaddedIdentity(block.stride, before, missing - before)
        activation = _activation(block.activation or self._defaults.activation)
        return Residual(body, shortcut, activation, self._defaults.residual_scale)

    @make.register
    def _global_pool(self, block: blocks.GlobalPool, shape: blocks.Shape) -> nn.Module:
        return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())

    @make.register
    def _flatten(self, block: blocks.Flatten, shape: blocks.Shape) -> nn.Module:
        return nn.Flatten()

    @make.register
    def _dropout(self, block: blocks.Dropout, shape: blocks.Shape) -> nn.Module:
        kind = nn.Dropout2d if block.spatial else nn.Dropout
        return kind(1 - block.keep_prob)

    @make.register
    def _batch_norm(self, block: blocks.BatchNorm, shape: blocks.Shape) -> nn.Module:
        return self._norm(shape[-1], maps=len(shape) == 3)

    @make.register
    def _activate(self, block: blocks.Activate, shape: blocks.Shape) -> nn.Module:
        return _activation(block.kind)

    def _has_bias(self, block: blocks.Weighted) -> bool:
        norm = self._defaults.norm if block.norm is None else block.norm
        bias = self._defaults.bias if block.bias is None else block.bias
        return not norm if bias is None else bias

    def _behind(
        self, block: blocks.Weighted, channels: int, *, maps: bool = True
    ) -> list[nn.Module]:
        modules: list[nn.Module] = []
        if self._defaults.norm if block.norm is None else block.norm:
            modules.append(self._norm(channels, maps=maps))
        kind = block.activation or self._defaults.activation
        if kind != "linear":
            modules.append(_activation(kind))
        return modules

    def _norm(self, channels: int, *, maps: bool) -> nn.Module:
        norm = (nn.BatchNorm2d if maps else nn.BatchNorm1d)(
            channels,
            eps=self._defaults.norm_epsilon,
            momentum=1 - self._defaults.norm_decay,
        )
        # The fused kernel wants a factor; one that is not trained stays 1.
        norm.weight.requires_grad_(self._defaults.norm_scale)
        return norm


def _padding(kernel: blocks.Kernel, padding: blocks.Padding) -> tuple[int, int]:
    if isinstance(padding, int):
        return padding, padding
    if padding == "VALID":
        return 0, 0
    height_px, width_px = blocks.kernel_sides(kernel)
    if not height_px % 2 or not width_px % 2:
        raise ValueError(f"no symmetric SAME padding for a kernel of {kernel} px")
    return height_px // 2, width_px // 2


def _activation(kind: blocks.Activation) -> nn.Module:
    return {
        "relu": lambda: nn.ReLU(inplace=True),
        "leaky_relu": lambda: nn.LeakyReLU(LEAKY_SLOPE, inplace=True),
        "sigmoid": nn.Sigmoid,
        "tanh": nn.Tanh,
        "linear": nn.Identity,
    }[kind]()

"""Residual nets of the first paper for CIFAR and ImageNet, and one for MNIST."""

from collections.abc import Callable
from dataclasses import replace

from trainer.nets.blocks import (
    HE_NORMAL,
    Block,
    Conv,
    Defaults,
    GlobalPool,
    Logits,
    NetSpec,
    Pool,
    Residual,
    Shortcut,
    WeightInit,
)

# Name, filters, stride, shortcut.
Unit = Callable[[str, int, int, Shortcut], Residual]


def middle(filters: int, stride: int) -> Conv:
    """A 3x3 convolution; padding centres strided windows on the px the shortcut takes."""
    return Conv(filters, 3, stride, padding="SAME" if stride == 1 else 1)


def basic(name: str, filters: int, stride: int, shortcut: Shortcut) -> Residual:
    """Two 3x3 convolutions; ReLU after the first and after the sum."""
    body = (middle(filters, stride), Conv(filters, 3, activation="linear"))
    return Residual(body, shortcut, stride, name=name)


def plain(name: str, filters: int, stride: int, shortcut: Shortcut) -> Residual:
    """`basic` without a ReLU after the sum."""
    return replace(basic(name, filters, stride, shortcut), activation="linear")


def bottleneck(name: str, filters: int, stride: int, shortcut: Shortcut) -> Residual:
    """1x1 to `filters`, 3x3, 1x1 to four times as many; ReLU after the sum.

    The 3x3 has the stride. The paper's first 1x1 would skip three of four px.
    """
    last = Conv(4 * filters, 1, activation="linear")
    body = (Conv(filters, 1), middle(filters, stride), last)
    return Residual(body, shortcut, stride, name=name)


def group(
    name: str,
    unit: Unit,
    filters: int,
    units: int,
    stride: int = 1,
    shortcut: Shortcut = "identity",
) -> tuple[Block, ...]:
    """`units` units; stride and shortcut are those of the first one."""
    first = unit(f"{name}/unit1", filters, stride, shortcut)
    rest = (
        unit(f"{name}/unit{place}", filters, 1, "identity")
        for place in range(2, units + 1)
    )
    return (first, *rest)


def cifar(name: str, units: int, parameters: int) -> NetSpec:
    """Net of 6 * units + 2 layers for 32-px images."""
    return NetSpec(
        name,
        family="resnet",
        image_size_px=32,
        num_classes=10,
        parameters=parameters,
        reference="He et al., arXiv:1512.03385, section 4.2 and table 6",
        defaults=Defaults(weight_init=HE_NORMAL),
        blocks=(
            Conv(16, 3, name="conv1"),  # 32 x 32 x 16
            *group("group1", basic, 16, units),  # 32 x 32 x 16
            *group("group2", basic, 32, units, 2, "pad_after"),  # 16 x 16 x 32
            *group("group3", basic, 64, units, 2, "pad_after"),  # 8 x 8 x 64
            GlobalPool(name="pool"),  # 64
        ),
    )


# The paper prints 0.27, 0.46 and 0.85 million.
RESNET_20 = cifar("resnet_20", units=3, parameters=269_722)
RESNET_32 = cifar("resnet_32", units=5, parameters=464_154)
RESNET_56 = cifar("resnet_56", units=9, parameters=853_018)


def imagenet(name: str, unit: Unit, units: tuple[int, ...], parameters: int) -> NetSpec:
    """Net with `units` units in its four groups.

    The first unit of a group projects its shortcut wherever the shape changes.
    """
    first: Shortcut = "projection" if unit is bottleneck else "identity"
    return NetSpec(
        name,
        family="resnet",
        parameters=parameters,
        reference="He et al., arXiv:1512.03385, table 1",
        defaults=Defaults(weight_init=HE_NORMAL),
        blocks=(
            Conv(64, 7, 2, padding=3, name="conv1"),  # 112 x 112 x 64
            Pool("max", 3, 2, name="pool1"),  # 56 x 56 x 64
            *group("group1", unit, 64, units[0], 1, first),  # 56 x 56 x 64 or 256
            *group(
                "group2", unit, 128, units[1], 2, "projection"
            ),  # 28 x 28 x 128, 512
            *group(
                "group3", unit, 256, units[2], 2, "projection"
            ),  # 14 x 14 x 256, 1024
            *group("group4", unit, 512, units[3], 2, "projection"),  # 7 x 7 x 512, 2048
            GlobalPool(name="pool"),
        ),
    )


RESNET_18 = imagenet("resnet_18", basic, (2, 2, 2, 2), parameters=11_689_512)
RESNET_34 = imagenet("resnet_34", basic, (3, 4, 6, 3), parameters=21_797_672)
RESNET_50 = imagenet("resnet_50", bottleneck, (3, 4, 6, 3), parameters=25_557_032)
# Each 1x1 halving gives a quarter of its group's depth. The shortcut behind it adds zero
# channels on both sides.
RESNET_34_MNIST = NetSpec(
    "resnet_34_mnist",
    family="resnet",
    image_size_px=28,
    channels=1,
    num_classes=10,
    parameters=20_371_178,
    reference="after He et al., arXiv:1512.03385, table 1, 34 layers; no batch norm",
    # No initialiser is given for the convolutions; this is tf-slim's own default.
    defaults=Defaults(norm=False, regularised=False),
    head=Logits(WeightInit("truncated_normal", 0.1), bias=0.1, regularised=True),
    blocks=(
        Conv(64, 7, name="conv1"),  # 28 x 28 x 64
        Pool("max", 2, stride=2, name="pool1"),  # 14 x 14 x 64
        *group("group1", plain, 64, 3, shortcut="pad_symmetric"),  # 14 x 14 x 64
        Conv(32, 1, stride=2, name="group2/halving"),  # 7 x 7 x 32
        *group("group2", plain, 128, 4, shortcut="pad_symmetric"),  # 7 x 7 x 128
        Conv(64, 1, stride=2, name="group3/halving"),  # 4 x 4 x 64
        *group("group3", plain, 256, 6, shortcut="pad_symmetric"),  # 4 x 4 x 256
        Conv(128, 1, stride=2, name="group4/halving"),  # 2 x 2 x 128
        *group("group4", plain, 512, 3, shortcut="pad_symmetric"),  # 2 x 2 x 512
        GlobalPool(name="pool2"),  # 512; the system's 2x2 pool at its own size
    ),
)

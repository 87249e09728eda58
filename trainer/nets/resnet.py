"""Residual nets of the first paper: those for CIFAR and those for ImageNet."""

from collections.abc import Callable

from trainer.nets.blocks import (
    HE_NORMAL,
    Block,
    Conv,
    Defaults,
    GlobalPool,
    NetSpec,
    Pool,
    Residual,
    Shortcut,
)


def basic(
    filters: int, *, stride: int = 1, shortcut: Shortcut = "identity", name: str = ""
) -> Residual:
    """Two 3x3 convolutions; ReLU after the first and after the sum.

    A strided one pads by hand, so that its windows are centred on the px the shortcut takes.
    """
    first = Conv(filters, 3, stride=stride, padding="SAME" if stride == 1 else 1)
    body = (first, Conv(filters, 3, activation="linear"))
    return Residual(body, shortcut, stride, name=name)


def cifar_group(group: int, filters: int, units: int) -> tuple[Block, ...]:
    """`units` basic units; all groups but the first begin with a halving."""
    first = (
        basic(filters, name=f"group{group}/unit1")
        if group == 1
        else basic(filters, stride=2, shortcut="pad_after", name=f"group{group}/unit1")
    )
    rest = (
        basic(filters, name=f"group{group}/unit{unit}") for unit in range(2, units + 1)
    )
    return (first, *rest)


def cifar(name: str, units: int, parameters: int) -> NetSpec:
    """Net of 6 * units + 2 layers for 32-px images; the sizes are those at 32 px."""
    return NetSpec(
        name,
        family="resnet",
        image_size_px=32,
        channels=3,
        num_classes=10,
        parameters=parameters,
        reference="He et al., arXiv:1512.03385, section 4.2 and table 6",
        defaults=Defaults(weight_init=HE_NORMAL),
        blocks=(
            Conv(16, 3, name="conv1"),  # 32 x 32 x 16
            *cifar_group(1, 16, units),  # 32 x 32 x 16
            *cifar_group(2, 32, units),  # 16 x 16 x 32
            *cifar_group(3, 64, units),  # 8 x 8 x 64
            GlobalPool(name="pool"),  # 64
        ),
    )


# The paper prints 0.27, 0.46 and 0.85 million.
RESNET_20 = cifar("resnet_20", units=3, parameters=269_722)
RESNET_32 = cifar("resnet_32", units=5, parameters=464_154)
RESNET_56 = cifar("resnet_56", units=9, parameters=853_018)


def bottleneck(
    filters: int, *, stride: int = 1, shortcut: Shortcut = "identity", name: str = ""
) -> Residual:
    """1x1 to `filters`, 3x3, 1x1 to four times as many.

    The stride is on the 3x3: on the first 1x1, as the paper has it, three of four px would
    not be looked at.
    """
    middle = Conv(filters, 3, stride=stride, padding="SAME" if stride == 1 else 1)
    body = (Conv(filters, 1), middle, Conv(4 * filters, 1, activation="linear"))
    return Residual(body, shortcut, stride, name=name)


def imagenet_group(
    group: int, unit: Callable[..., Residual], filters: int, units: int
) -> tuple[Block, ...]:
    """`units` units; the first projects its shortcut wherever the shape changes."""
    stride = 1 if group == 1 else 2
    changes = stride > 1 or unit is bottleneck
    first = unit(
        filters,
        stride=stride,
        shortcut="projection" if changes else "identity",
        name=f"group{group}/unit1",
    )
    rest = (unit(filters, name=f"group{group}/unit{n}") for n in range(2, units + 1))
    return (first, *rest)


def imagenet(
    name: str, unit: Callable[..., Residual], units: tuple[int, ...], parameters: int
) -> NetSpec:
    """Net with `units` units in its four groups; the sizes are those at 224 px."""
    return NetSpec(
        name,
        family="resnet",
        image_size_px=224,
        channels=3,
        num_classes=1000,
        parameters=parameters,
        reference="He et al., arXiv:1512.03385, table 1",
        defaults=Defaults(weight_init=HE_NORMAL),
        blocks=(
            Conv(64, 7, 2, padding=3, name="conv1"),  # 112 x 112 x 64
            Pool("max", 3, 2, name="pool1"),  # 56 x 56 x 64
            *imagenet_group(1, unit, 64, units[0]),  # 56 x 56 x 64, bottleneck 256
            *imagenet_group(2, unit, 128, units[1]),  # 28 x 28 x 128, bottleneck 512
            *imagenet_group(3, unit, 256, units[2]),  # 14 x 14 x 256, bottleneck 1024
            *imagenet_group(4, unit, 512, units[3]),  # 7 x 7 x 512, bottleneck 2048
            GlobalPool(name="pool"),
        ),
    )


RESNET_18 = imagenet("resnet_18", basic, (2, 2, 2, 2), parameters=11_689_512)
RESNET_34 = imagenet("resnet_34", basic, (3, 4, 6, 3), parameters=21_797_672)
RESNET_50 = imagenet("resnet_50", bottleneck, (3, 4, 6, 3), parameters=25_557_032)

"""Residual nets with bottlenecks as tf-slim publishes them.

They halve elsewhere than `resnet_50`: on the 3x3 of the last unit of a group.
"""

from collections.abc import Callable

from trainer.config import PreprocessingConfig
from trainer.nets.blocks import (
    HE_NORMAL,
    Activate,
    BatchNorm,
    Block,
    Conv,
    Defaults,
    GlobalPool,
    NetSpec,
    Pool,
    Residual,
    Shortcut,
)
from trainer.nets.published import Source
from trainer.nets.slim_form import MEANS_224, ONES_299

DEFAULTS = Defaults(HE_NORMAL, norm_decay=0.997)

Unit = Callable[[str, int, int, Shortcut], Residual]


def source(images: PreprocessingConfig) -> Source:
    """Names as `resnet_v1_50/block1/unit_1/bottleneck_v1/conv1/weights`."""
    rules = (
        (r"^resnet_v\d_\d+/", ""),
        (r"^block(\d)/unit_(\d+)/bottleneck_v\d/", r"group\1/unit\2/"),
        (r"^(group\d/unit\d+)/conv(\d)/", r"\1/conv_\2/"),
    )
    return Source("slim", "tf-slim", rules, images)


def middle(filters: int, stride: int) -> Conv:
    """The 3x3; a strided one is centred on the px that the shortcut takes."""
    return Conv(filters, 3, stride, padding="SAME" if stride == 1 else 1)


def unit_v1(name: str, filters: int, stride: int, shortcut: Shortcut) -> Residual:
    """1x1 to `filters`, 3x3, 1x1 to four times as many; ReLU after the sum."""
    last = Conv(4 * filters, 1, activation="linear")
    body = (Conv(filters, 1), middle(filters, stride), last)
    return Residual(body, shortcut, stride, name=name)


def unit_v2(name: str, filters: int, stride: int, shortcut: Shortcut) -> Residual:
    """Batch norm and ReLU before body and projection; nothing after the sum."""
    last = Conv(4 * filters, 1, activation="linear", norm=False)
    projection = Conv(4 * filters, 1, activation="linear", norm=False, name="shortcut")
    return Residual(
        (Conv(filters, 1), middle(filters, stride), last),
        (projection,) if shortcut == "projection" else shortcut,
        stride,
        activation="linear",
        entry=(BatchNorm(name="preact"), Activate("relu")),
        name=name,
    )


def group(number: int, unit: Unit, filters: int, units: int) -> tuple[Block, ...]:
    """`units` units; the first projects its shortcut, the last halves, but in group 4."""
    last = 1 if number == 4 else 2
    return tuple(
        unit(
            f"group{number}/unit{place}",
            filters,
            last if place == units else 1,
            "projection" if place == 1 else "identity",
        )
        for place in range(1, units + 1)
    )


def groups(unit: Unit, units: tuple[int, ...]) -> tuple[Block, ...]:
    """The four groups; the sizes are those at 224 px, before and after the last unit."""
    return (
        *group(1, unit, 64, units[0]),  # 56 x 56 x 256, 28 x 28 x 256
        *group(2, unit, 128, units[1]),  # 28 x 28 x 512, 14 x 14 x 512
        *group(3, unit, 256, units[2]),  # 14 x 14 x 1024, 7 x 7 x 1024
        *group(4, unit, 512, units[3]),  # 7 x 7 x 2048
    )


def resnet_v1(name: str, units: tuple[int, ...], parameters: int) -> NetSpec:
    """Net with so many units in its groups."""
    return NetSpec(
        name,
        family="resnet",
        image_size_px=224,
        channels=3,
        num_classes=1000,
        parameters=parameters,
        reference="He et al., arXiv:1512.03385, table 1, as tf-slim's",
        defaults=DEFAULTS,
        blocks=(
            Conv(64, 7, 2, padding=3, name="conv1"),  # 112 x 112 x 64
            Pool("max", 3, 2, name="pool1"),  # 56 x 56 x 64
            *groups(unit_v1, units),
            GlobalPool(name="pool5"),  # 2048
        ),
        sources=(source(MEANS_224),),
    )


RESNET_V1_50 = resnet_v1("resnet_v1_50", (3, 4, 6, 3), parameters=25_557_032)
RESNET_V1_101 = resnet_v1("resnet_v1_101", (3, 4, 23, 3), parameters=44_549_160)
RESNET_V2_50 = NetSpec(
    "resnet_v2_50",
    family="resnet",
    image_size_px=299,
    channels=3,
    num_classes=1001,
    parameters=25_570_409,
    reference="He et al., arXiv:1603.05027, figure 4e, as tf-slim's",
    defaults=DEFAULTS,
    blocks=(
        # The first unit brings batch norm and ReLU.
        Conv(64, 7, 2, padding=3, activation="linear", norm=False, name="conv1"),
        Pool("max", 3, 2, name="pool1"),
        *groups(unit_v2, (3, 4, 6, 3)),
        BatchNorm(name="postnorm"),
        Activate("relu", name="relu"),
        GlobalPool(name="pool5"),  # 2048
    ),
    sources=(source(ONES_299),),
)

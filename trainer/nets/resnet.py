"""Residual nets: the CIFAR nets of the first paper, and the plain one for MNIST."""

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


def plain_group(group: int, filters: int, convolutions: int) -> tuple[Block, ...]:
    """Units of two 3x3 convolutions without batch norm, linear after the sum.

    All groups but the first are entered by a halving to a quarter of their depth; the first
    unit's shortcut makes it up with zero channels on both sides.
    """
    halving = Conv(filters // 4, 1, stride=2, name=f"group{group}/halving")
    units = tuple(
        Residual(
            (Conv(filters, 3), Conv(filters, 3, activation="linear")),
            "pad_symmetric" if unit == 1 else "identity",
            activation="linear",
            name=f"group{group}/unit{unit}",
        )
        for unit in range(1, convolutions // 2 + 1)
    )
    return units if group == 1 else (halving, *units)


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
        *plain_group(1, 64, convolutions=6),  # 14 x 14 x 64
        *plain_group(2, 128, convolutions=8),  # 7 x 7 x 128
        *plain_group(3, 256, convolutions=12),  # 4 x 4 x 256
        *plain_group(4, 512, convolutions=6),  # 2 x 2 x 512
        GlobalPool(name="pool2"),  # 512; the 2x2 pool of the system at its own size
    ),
)

"""The 34-layer residual net for MNIST: no batch norm, linear after the sum."""

from trainer.nets.blocks import (
    Block,
    Conv,
    Defaults,
    GlobalPool,
    Logits,
    NetSpec,
    Pool,
    Residual,
    WeightInit,
)


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

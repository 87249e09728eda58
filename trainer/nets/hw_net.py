"""The ten-layer net of the two custom data sets: a stack, two Inception modules, dense."""

from trainer.nets.blocks import (
    HE_NORMAL,
    Activate,
    BatchNorm,
    Block,
    Conv,
    Defaults,
    Dense,
    Dropout,
    Flatten,
    Mixed,
    NetSpec,
    Pool,
)


def module(
    name: str, conv1: int, conv3: int, double3: int, projection: int, reduce: int
) -> tuple[Block, ...]:
    """Four towers of so many filters, the 3x3 ones behind `reduce`; joined, BN, ReLU.

    The reducing convolutions have no bias, the towers' last ones are linear: batch norm
    comes once, behind the join.
    """
    first = Conv(reduce, 1, bias=False)
    towers: tuple[tuple[Block, ...], ...] = (
        (Conv(conv1, 1, activation="linear"),),
        (first, Conv(conv3, 3, activation="linear")),
        (first, Conv(double3, 3), Conv(double3, 3, activation="linear")),
        (Pool("max", 3), Conv(projection, 1, activation="linear")),
    )
    return (
        Mixed(towers, name=name),
        BatchNorm(name=f"{name}_norm"),
        Activate("relu", name=f"{name}_relu"),
    )


HW_NET = NetSpec(
    "hw_net",
    family="hw_net",
    image_size_px=100,
    num_classes=65,
    parameters=2_959_201,
    reference="ten layers for two data sets of 65 classes (docs/systems.md, section 4)",
    defaults=Defaults(HE_NORMAL, norm=False, bias=True, regularised=False),
    blocks=(
        Conv(64, 3, name="conv_stack1/conv1"),  # 100 x 100 x 64
        Conv(128, 3, 2, activation="linear", name="conv_stack1/conv2"),  # 50 x 50 x 128
        BatchNorm(name="conv_stack1/norm"),
        Activate("relu", name="conv_stack1/relu"),
        Pool("max", 3, 2, name="pool1"),  # 25 x 25 x 128
        *module("inception2", 64, 96, 96, 64, reduce=64),  # 25 x 25 x 320
        Pool("max", 3, 2, name="pool2"),  # 13 x 13 x 320
        Dropout(0.75, spatial=True, name="dropout2"),
        *module("inception3", 32, 64, 64, 32, reduce=96),  # 13 x 13 x 192
        Pool("max", 3, 2, name="pool3"),  # 7 x 7 x 192
        Dropout(0.75, spatial=True, name="dropout3"),
        Flatten(name="flatten"),  # 9408
        Dense(256, activation="linear", regularised=True, name="dense1"),  # 256
        BatchNorm(name="dense1_norm"),
        Dropout(0.5, name="dense1_dropout"),
        Activate("relu", name="dense1_relu"),
    ),
)

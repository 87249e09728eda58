"""Inception-v2, the batch-normalised Inception."""

from dataclasses import replace
from typing import Literal

from trainer.nets.blocks import (
    Block,
    Conv,
    Defaults,
    Dropout,
    GlobalPool,
    Mixed,
    NetSpec,
    Pool,
    SeparableConv,
)
from trainer.nets.published import INCEPTION, ONES_224, inception_source


def module(
    name: str,
    conv1: int,
    reduce3: int,
    conv3: int,
    reduce5: int,
    conv5a: int,
    conv5b: int,
    projection: int = 0,
    pool: Literal["avg", "max"] = "avg",
) -> Mixed:
    """Inception module; the numbers are the columns of the paper's table.

    With `conv1` 0 it halves: no 1x1 branch, no projection, stride 2 on the last
    convolutions and on the pool.
    """
    stride = 1 if conv1 else 2
    branches: list[tuple[Block, ...]] = [
        (Conv(conv1, 1),),
        (Conv(reduce3, 1), Conv(conv3, 3, stride)),
        (Conv(reduce5, 1), Conv(conv5a, 3), Conv(conv5b, 3, stride)),
        (Pool(pool, 3, stride), Conv(projection, 1)),
    ]
    if not conv1:
        branches = [*branches[1:3], (Pool(pool, 3, stride),)]
    return Mixed(tuple(branches), name=name)


def inception_v2(
    name: str, parameters: int, *, projection4: int, first_norm: bool = True
) -> NetSpec:
    """The corrected table; `projection4` filters project the pools of 4c and 4d.

    Without `first_norm` layer 1 has a bias in place of batch norm.
    """
    p4 = projection4
    return NetSpec(
        name,
        family="inception",
        num_classes=10,
        parameters=parameters,
        reference="Ioffe and Szegedy, arXiv:1502.03167, figure 5",
        defaults=Defaults(norm_decay=0.998, norm_epsilon=0.001, norm_scale=False),
        blocks=(
            SeparableConv(
                64, 7, 2, depth_multiplier=8, norm=first_norm, name="layer1"
            ),  # 112 x 112 x 64
            Pool("max", 3, 2, name="layer2"),  # 56 x 56 x 64
            Conv(64, 1, name="layer3"),  # 56 x 56 x 64
            Conv(192, 3, name="layer4"),  # 56 x 56 x 192
            Pool("max", 3, 2, name="layer5"),  # 28 x 28 x 192
            module("3a", 64, 64, 64, 64, 96, 96, 32),  # 28 x 28 x 256
            module("3b", 64, 64, 96, 64, 96, 96, 64),  # 28 x 28 x 320
            module("3c", 0, 128, 160, 64, 96, 96, pool="max"),  # 14 x 14 x 576
            module("4a", 224, 64, 96, 96, 128, 128, 128),  # 14 x 14 x 576
            module("4b", 192, 96, 128, 96, 128, 128, 128),  # 14 x 14 x 576
            module("4c", 160, 128, 160, 128, 160, 160, p4),  # 14 x 14 x 608, slim 576
            module("4d", 96, 128, 192, 160, 192, 192, p4),  # 14 x 14 x 608, slim 576
            module(
                "4e", 0, 128, 192, 192, 256, 256, pool="max"
            ),  # 7 x 7 x 1056, slim 1024
            module("5a", 352, 192, 320, 160, 224, 224, 128),  # 7 x 7 x 1024
            module("5b", 352, 192, 320, 192, 224, 224, 128, "max"),  # 7 x 7 x 1024
            GlobalPool(
                name="pool"
            ),  # 1024; 7x7 VALID at 224 px, and any other size too
            Dropout(0.8, name="dropout"),  # 1024
        ),
        # The head is the paper's 1x1 convolution: over one px that is fully connected.
    )


INCEPTION_V2 = inception_v2("inception_v2", 10_253_762, projection4=128)
# The paper's own width of 576. The count is that of a net with batch norm in layer 1: there
# are as many biases as there would be offsets.
INCEPTION_V2_SLIM = replace(
    inception_v2("inception_v2_slim", 10_163_586, projection4=96, first_norm=False),
    defaults=INCEPTION,
    sources=(inception_source("InceptionV2", ONES_224),),
)

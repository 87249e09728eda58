"""Inception-ResNet-v2 as published with tf-slim's research nets and by Keras.

Against `inception_resnet_v2`, the paper's: the stem of Inception-v3, twice the units, a
scale for each group, none in the last unit, and a 1x1 before the mean.
"""

from dataclasses import replace

from trainer.nets.blocks import (
    Block,
    Conv,
    Dropout,
    GlobalPool,
    Mixed,
    NetSpec,
    Residual,
)
from trainer.nets.inception_resnet import (
    BRANCHES_A,
    BRANCHES_B,
    BRANCHES_C,
    reduction_b,
)
from trainer.nets.inception_v3 import KERAS, STEM, chain, projection
from trainer.nets.inception_v4 import REFERENCE, reduction_a
from trainer.nets.published import INCEPTION, ONES_299, inception_source

# The scopes of units in the order of the graph.
SLIM = inception_source(
    "InceptionResnetV2",
    ONES_299,
    (
        (r"/Repeat/", "/Mixed_5c/"),
        (r"/Repeat_1/", "/Mixed_6b/"),
        (r"/Repeat_2/", "/Mixed_7b/"),
        (r"/Block8/", "/Mixed_7b/block8_10/"),
        (r"/Conv2d_7b_1x1/", "/Mixed_7c/"),
    ),
)


def units(
    prefix: str,
    count: int,
    scale: float,
    channels: int,
    branches: tuple[tuple[Block, ...], ...],
) -> tuple[Residual, ...]:
    """Residual units: branches, and a linear 1x1 with bias back to the depth of the input."""
    last = Conv(channels, 1, activation="linear", norm=False, name="conv")
    body = (Mixed(branches, name="mixed"), last)
    return tuple(
        Residual(body, scale=scale, name=f"{prefix}_{place}")
        for place in range(1, count + 1)
    )


MIXED_5B = Mixed(
    (
        chain((96, 1)),
        chain((48, 1), (64, 5)),
        chain((64, 1), (96, 3), (96, 3)),
        projection(64),
    ),
    name="5b",
)
*BLOCK8, LAST_BLOCK8 = units("block8", 10, 0.2, 2080, BRANCHES_C)

INCEPTION_RESNET_V2_SLIM = NetSpec(
    "inception_resnet_v2_slim",
    family="inception",
    image_size_px=299,
    parameters=55_813_192,
    reference=f"{REFERENCE}, figure 15, as tf-slim's and Keras's",
    defaults=INCEPTION,
    blocks=(
        *STEM,  # 35 x 35 x 192
        MIXED_5B,  # 35 x 35 x 320
        *units("block35", 10, 0.17, 320, BRANCHES_A),  # 35 x 35 x 320
        reduction_a("6a", True, 256, 256, 384, 384),  # 17 x 17 x 1088
        *units("block17", 20, 0.1, 1088, BRANCHES_B),  # 17 x 17 x 1088
        reduction_b("7a", True, 288, 288, 320),  # 8 x 8 x 2080
        *BLOCK8,  # 8 x 8 x 2080
        replace(LAST_BLOCK8, scale=1.0, activation="linear"),  # 8 x 8 x 2080
        Conv(1536, 1, name="conv_7b"),  # 8 x 8 x 1536
        GlobalPool(name="pool"),  # 1536
        Dropout(0.8, name="dropout"),
    ),
    sources=(
        SLIM,
        replace(
            KERAS,
            rules=(
                (r"^(block\d+_\d+)_conv/", r"\1/conv/"),
                (r"^conv_7b(_bn)?/", "conv_7b/"),
                *KERAS.rules,
            ),
        ),
    ),
)

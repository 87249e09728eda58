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
from trainer.nets.inception_v3 import HALVING, KERAS, STEM, projection
from trainer.nets.inception_v4 import REFERENCE, chain
from trainer.nets.inception_v4_slim import COLUMN, ROW, halving
from trainer.nets.slim_form import INCEPTION, ONES_299, inception_source

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


def unit(
    name: str, scale: float, channels: int, *branches: tuple[Block, ...]
) -> Residual:
    """Branches, and a linear 1x1 with bias back to the depth of the input."""
    last = Conv(channels, 1, activation="linear", norm=False, name="conv")
    return Residual((Mixed(branches, name="mixed"), last), scale=scale, name=name)


def block35(place: int) -> Residual:
    """35 x 35 x 320."""
    return unit(
        *(f"block35_{place}", 0.17, 320),
        chain((32, 1)),
        chain((32, 1), (32, 3)),
        chain((32, 1), (48, 3), (64, 3)),
    )


def block17(place: int) -> Residual:
    """17 x 17 x 1088."""
    return unit(
        *(f"block17_{place}", 0.1, 1088),
        chain((192, 1)),
        chain((128, 1), (160, ROW), (192, COLUMN)),
    )


def block8(place: int, scale: float = 0.2) -> Residual:
    """8 x 8 x 2080."""
    return unit(
        *(f"block8_{place}", scale, 2080),
        chain((192, 1)),
        chain((192, 1), (224, (1, 3)), (256, (3, 1))),
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
REDUCTION_A = Mixed(
    ((halving(384),), (*chain((256, 1), (256, 3)), halving(384)), (HALVING,)),
    name="6a",
)
REDUCTION_B = Mixed(
    (
        (*chain((256, 1)), halving(384)),
        (*chain((256, 1)), halving(288)),
        (*chain((256, 1), (288, 3)), halving(320)),
        (HALVING,),
    ),
    name="7a",
)

INCEPTION_RESNET_V2_SLIM = NetSpec(
    "inception_resnet_v2_slim",
    family="inception",
    image_size_px=299,
    channels=3,
    num_classes=1000,
    parameters=55_813_192,
    reference=f"{REFERENCE}, figure 15, as tf-slim's and Keras's",
    defaults=INCEPTION,
    blocks=(
        *STEM,  # 35 x 35 x 192
        MIXED_5B,  # 35 x 35 x 320
        *(block35(place) for place in range(1, 11)),  # 35 x 35 x 320
        REDUCTION_A,  # 17 x 17 x 1088
        *(block17(place) for place in range(1, 21)),  # 17 x 17 x 1088
        REDUCTION_B,  # 8 x 8 x 2080
        *(block8(place) for place in range(1, 10)),  # 8 x 8 x 2080
        replace(block8(10, scale=1.0), activation="linear"),  # 8 x 8 x 2080
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

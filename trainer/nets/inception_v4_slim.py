"""Inception-v4 as published with tf-slim's research nets.

Against `inception_v4`, the paper's: 1x7 and 7x1 change places in the stem and in the longest
branches of B and C, the pool is the last branch, and batch norm has no factors.
"""

from trainer.nets.blocks import (
    Block,
    Conv,
    Dropout,
    GlobalPool,
    Mixed,
    NetSpec,
)
from trainer.nets.inception_v3 import HALVING, projection
from trainer.nets.inception_v4 import REFERENCE, chain
from trainer.nets.slim_form import INCEPTION, ONES_299, inception_source

ROW, COLUMN = (1, 7), (7, 1)


def halving(filters: int) -> Conv:
    """A 3x3 that halves."""
    return Conv(filters, 3, 2, "VALID")


STEM: tuple[Block, ...] = (
    Conv(32, 3, 2, "VALID", name="1a"),  # 149 x 149 x 32
    Conv(32, 3, padding="VALID", name="2a"),  # 147 x 147 x 32
    Conv(64, 3, name="2b"),  # 147 x 147 x 64
    Mixed(((HALVING,), (halving(96),)), name="3a"),  # 73 x 73 x 160
    Mixed(
        (
            (*chain((64, 1)), Conv(96, 3, padding="VALID")),
            (
                *chain((64, 1), (64, ROW), (64, COLUMN)),
                Conv(96, 3, padding="VALID"),
            ),
        ),
        name="4a",
    ),  # 71 x 71 x 192
    Mixed(((halving(192),), (HALVING,)), name="5a"),  # 35 x 35 x 384
)


def block_a(name: str) -> Mixed:
    """35 x 35 x 384."""
    branches = (
        chain((96, 1)),
        chain((64, 1), (96, 3)),
        chain((64, 1), (96, 3), (96, 3)),
        projection(96),
    )
    return Mixed(branches, name=name)


def block_b(name: str) -> Mixed:
    """17 x 17 x 1024."""
    branches = (
        chain((384, 1)),
        chain((192, 1), (224, ROW), (256, COLUMN)),
        chain((192, 1), (192, COLUMN), (224, ROW), (224, COLUMN), (256, ROW)),
        projection(128),
    )
    return Mixed(branches, name=name)


def block_c(name: str) -> Mixed:
    """8 x 8 x 1536."""
    split = Mixed((chain((256, (1, 3))), chain((256, (3, 1)))))
    branches = (
        chain((256, 1)),
        (*chain((384, 1)), split),
        (*chain((384, 1), (448, (3, 1)), (512, (1, 3))), split),
        projection(256),
    )
    return Mixed(branches, name=name)


REDUCTION_A = Mixed(
    ((halving(384),), (*chain((192, 1), (224, 3)), halving(256)), (HALVING,)),
    name="6a",
)
REDUCTION_B = Mixed(
    (
        (*chain((192, 1)), halving(192)),
        (*chain((256, 1), (256, ROW), (320, COLUMN)), halving(320)),
        (HALVING,),
    ),
    name="7a",
)

INCEPTION_V4_SLIM = NetSpec(
    "inception_v4_slim",
    family="inception",
    image_size_px=299,
    channels=3,
    num_classes=1001,
    parameters=42_649_769,
    reference=f"{REFERENCE}, figures 3 to 9, as tf-slim's",
    defaults=INCEPTION,
    blocks=(
        *STEM,  # 35 x 35 x 384
        *(block_a(f"5{letter}") for letter in "bcde"),  # 35 x 35 x 384
        REDUCTION_A,  # 17 x 17 x 1024
        *(block_b(f"6{letter}") for letter in "bcdefgh"),  # 17 x 17 x 1024
        REDUCTION_B,  # 8 x 8 x 1536
        *(block_c(f"7{letter}") for letter in "bcd"),  # 8 x 8 x 1536
        GlobalPool(name="pool"),  # 1536
        Dropout(0.8, name="dropout"),
    ),
    sources=(inception_source("InceptionV4", ONES_299),),
)

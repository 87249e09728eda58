"""Inception-v3, as tf-slim and Keras publish it."""

from trainer.nets.blocks import (
    Block,
    Conv,
    Dropout,
    GlobalPool,
    Mixed,
    NetSpec,
    Pool,
)
from trainer.nets.published import Source
from trainer.nets.slim_form import INCEPTION, ONES_299, inception_source

HALVING = Pool("max", 3, 2, "VALID")
# Names as `conv2d_17/kernel`; the numbers go on from the last model of the process.
KERAS = Source(
    "keras",
    "keras.applications",
    ((r"^predictions/", "logits/"),),
    ONES_299,
    ordered=r"(conv2d|batch_normalization)(_\d+)?",
)


def projection(filters: int) -> tuple[Block, ...]:
    """The branch of the pool."""
    return (Pool("avg", 3), Conv(filters, 1))


def module_a(name: str, pooled: int) -> Mixed:
    """Figure 5: the 5x5 is left in the second branch, two 3x3 stand for it in the third."""
    branches = (
        (Conv(64, 1),),
        (Conv(48, 1), Conv(64, 5)),
        (Conv(64, 1), Conv(96, 3), Conv(96, 3)),
        projection(pooled),
    )
    return Mixed(branches, name=name)


def module_b(name: str, filters: int) -> Mixed:
    """Figure 6: 7x7 as rows and columns; `filters` before the last of a branch."""
    row, column = (1, 7), (7, 1)
    branches = (
        (Conv(192, 1),),
        (Conv(filters, 1), Conv(filters, row), Conv(192, column)),
        (
            *(Conv(filters, kernel) for kernel in (1, column, row, column)),
            Conv(192, row),
        ),
        projection(192),
    )
    return Mixed(branches, name=name)


def module_c(name: str) -> Mixed:
    """Figure 7: branches that end in a row and a column side by side."""
    split = Mixed(((Conv(384, (1, 3)),), (Conv(384, (3, 1)),)))
    branches = (
        (Conv(320, 1),),
        (Conv(384, 1), split),
        (Conv(448, 1), Conv(384, 3), split),
        projection(192),
    )
    return Mixed(branches, name=name)


REDUCTION_A = Mixed(
    (
        (Conv(384, 3, 2, "VALID"),),
        (Conv(64, 1), Conv(96, 3), Conv(96, 3, 2, "VALID")),
        (HALVING,),
    ),
    name="6a",
)
REDUCTION_B = Mixed(
    (
        (Conv(192, 1), Conv(320, 3, 2, "VALID")),
        (
            *(Conv(192, kernel) for kernel in (1, (1, 7), (7, 1))),
            Conv(192, 3, 2, "VALID"),
        ),
        (HALVING,),
    ),
    name="7a",
)

# The stem of Inception-ResNet-v2 too: 299 -> 35 px, 192 channels.
STEM: tuple[Block, ...] = (
    Conv(32, 3, 2, "VALID", name="1a"),  # 149 x 149 x 32
    Conv(32, 3, padding="VALID", name="2a"),  # 147 x 147 x 32
    Conv(64, 3, name="2b"),  # 147 x 147 x 64
    Pool("max", 3, 2, "VALID", name="3a"),  # 73 x 73 x 64
    Conv(80, 1, name="3b"),  # 73 x 73 x 80
    Conv(192, 3, padding="VALID", name="4a"),  # 71 x 71 x 192
    Pool("max", 3, 2, "VALID", name="5a"),  # 35 x 35 x 192
)

INCEPTION_V3 = NetSpec(
    "inception_v3",
    family="inception",
    image_size_px=299,
    channels=3,
    num_classes=1000,
    parameters=23_817_352,
    reference="Szegedy et al., arXiv:1512.00567, table 1, as tf-slim's and Keras's",
    defaults=INCEPTION,
    blocks=(
        *STEM,  # 35 x 35 x 192
        module_a("5b", 32),  # 35 x 35 x 256
        module_a("5c", 64),  # 35 x 35 x 288
        module_a("5d", 64),  # 35 x 35 x 288
        REDUCTION_A,  # 17 x 17 x 768
        module_b("6b", 128),  # 17 x 17 x 768
        module_b("6c", 160),  # 17 x 17 x 768
        module_b("6d", 160),  # 17 x 17 x 768
        module_b("6e", 192),  # 17 x 17 x 768
        REDUCTION_B,  # 8 x 8 x 1280
        module_c("7b"),  # 8 x 8 x 2048
        module_c("7c"),  # 8 x 8 x 2048
        GlobalPool(name="pool"),  # 2048
        Dropout(0.8, name="dropout"),
    ),
    sources=(inception_source("InceptionV3", ONES_299), KERAS),
)

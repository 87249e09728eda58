"""Inception-v3, as tf-slim and Keras publish it, and the parts that its successors share."""

from trainer.nets.blocks import (
    Block,
    Conv,
    Dropout,
    GlobalPool,
    Kernel,
    Mixed,
    NetSpec,
    Pool,
)
from trainer.nets.published import INCEPTION, ONES_299, Source, inception_source

HALVING = Pool("max", 3, 2, "VALID")
ROW, COLUMN = (1, 7), (7, 1)
# Names as `conv2d_17/kernel`; the numbers continue from the last model of the process.
KERAS = Source(
    "keras",
    "keras.applications",
    ((r"^predictions/", "logits/"),),
    ONES_299,
    ordered=r"(conv2d|batch_normalization)(_\d+)?",
)


def chain(*layers: tuple[int, Kernel]) -> tuple[Block, ...]:
    """Convolutions one after another, by filters and kernel."""
    return tuple(Conv(filters, kernel) for filters, kernel in layers)


def halving(filters: int) -> Conv:
    """A 3x3 convolution that halves."""
    return Conv(filters, 3, 2, "VALID")


def projection(filters: int) -> tuple[Block, ...]:
    """The branch of the pool."""
    return (Pool("avg", 3), Conv(filters, 1))


def module_a(name: str, pooled: int) -> Mixed:
    """Figure 5: the second branch keeps the 5x5, the third has two 3x3 for it."""
    branches = (
        chain((64, 1)),
        chain((48, 1), (64, 5)),
        chain((64, 1), (96, 3), (96, 3)),
        projection(pooled),
    )
    return Mixed(branches, name=name)


def module_b(name: str, filters: int) -> Mixed:
    """Figure 6: 7x7 as rows and columns; `filters` before the last of a branch."""
    fourfold = ((filters, kernel) for kernel in (1, COLUMN, ROW, COLUMN))
    branches = (
        chain((192, 1)),
        chain((filters, 1), (filters, ROW), (192, COLUMN)),
        chain(*fourfold, (192, ROW)),
        projection(192),
    )
    return Mixed(branches, name=name)


def module_c(name: str) -> Mixed:
    """Figure 7: branches that end in a row and a column side by side."""
    split = Mixed((chain((384, (1, 3))), chain((384, (3, 1)))))
    branches = (
        chain((320, 1)),
        (Conv(384, 1), split),
        (*chain((448, 1), (384, 3)), split),
        projection(192),
    )
    return Mixed(branches, name=name)


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
REDUCTION_A = Mixed(
    ((halving(384),), (*chain((64, 1), (96, 3)), halving(96)), (HALVING,)), name="6a"
)
REDUCTION_B = Mixed(
    (
        (Conv(192, 1), halving(320)),
        (*chain((192, 1), (192, ROW), (192, COLUMN)), halving(192)),
        (HALVING,),
    ),
    name="7a",
)

INCEPTION_V3 = NetSpec(
    "inception_v3",
    family="inception",
    image_size_px=299,
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

"""Inception-v4, the paper's and tf-slim's.

tf-slim's research nets swap 1x7 and 7x1 in the stem and in the longest branches of B and C,
have the pool as the last branch, and batch norm without factors.
"""

from collections.abc import Sequence

from trainer.nets.blocks import (
    Block,
    Conv,
    Defaults,
    Dropout,
    GlobalPool,
    Kernel,
    Mixed,
    NetSpec,
)
from trainer.nets.inception_v3 import COLUMN, HALVING, ROW, chain, halving, projection
from trainer.nets.published import INCEPTION, ONES_299, inception_source

# Convolutions keep a bias beside batch norm, as in the system reproduced: it changes
# nothing but the parameter count.
DEFAULTS = Defaults(bias=True, norm_epsilon=0.001)
REFERENCE = "Szegedy et al., arXiv:1602.07261"


def stem(names: Sequence[str], first: Kernel, second: Kernel) -> tuple[Block, ...]:
    """299 -> 35 px, 384 channels; `first` and `second` stand for a 7x7."""
    conv1, conv2, conv3, mixed1, mixed2, mixed3 = names
    last = Conv(96, 3, padding="VALID")
    long = (*chain((64, 1), (64, first), (64, second)), last)
    return (
        Conv(32, 3, 2, "VALID", name=conv1),  # 149 x 149 x 32
        Conv(32, 3, padding="VALID", name=conv2),  # 147 x 147 x 32
        Conv(64, 3, name=conv3),  # 147 x 147 x 64
        Mixed(((HALVING,), (halving(96),)), name=mixed1),  # 73 x 73 x 160
        Mixed(((Conv(64, 1), last), long), name=mixed2),  # 71 x 71 x 192
        Mixed(((halving(192),), (HALVING,)), name=mixed3),  # 35 x 35 x 384
    )


STEM = stem(
    [f"stem/{part}{number}" for part in ("conv", "mixed") for number in (1, 2, 3)],
    COLUMN,
    ROW,
)


def mixed(
    name: str, is_slim: bool, pool: tuple[Block, ...], *branches: tuple[Block, ...]
) -> Mixed:
    """Branches with that of the pool: the last one in tf-slim's nets, else the first."""
    return Mixed((*branches, pool) if is_slim else (pool, *branches), name=name)


def block_a(name: str, is_slim: bool) -> Mixed:
    """35 x 35 x 384."""
    return mixed(
        *(name, is_slim, projection(96)),
        chain((96, 1)),
        chain((64, 1), (96, 3)),
        chain((64, 1), (96, 3), (96, 3)),
    )


def reduction_a(name: str, is_slim: bool, *filters: int) -> Mixed:
    """Halves; `filters` are k, l, m and n of the paper's table 1."""
    k, l, m, n = filters  # noqa: E741
    long = (*chain((k, 1), (l, 3)), halving(m))
    return mixed(name, is_slim, (HALVING,), (halving(n),), long)


def block_b(name: str, is_slim: bool) -> Mixed:
    """17 x 17 x 1024. The paper's third branch has 7x1 last."""
    one, two = (COLUMN, ROW) if is_slim else (ROW, COLUMN)
    return mixed(
        *(name, is_slim, projection(128)),
        chain((384, 1)),
        chain((192, 1), (224, ROW), (256, COLUMN)),
        chain((192, 1), (192, one), (224, two), (224, one), (256, two)),
    )


def reduction_b(name: str, is_slim: bool) -> Mixed:
    """8 x 8 x 1536."""
    long = (*chain((256, 1), (256, ROW), (320, COLUMN)), halving(320))
    return mixed(name, is_slim, (HALVING,), (Conv(192, 1), halving(192)), long)


def block_c(name: str, is_slim: bool) -> Mixed:
    """8 x 8 x 1536."""
    one, two = ((3, 1), (1, 3)) if is_slim else ((1, 3), (3, 1))
    split = Mixed((chain((256, (1, 3))), chain((256, (3, 1)))))
    return mixed(
        *(name, is_slim, projection(256)),
        chain((256, 1)),
        (Conv(384, 1), split),
        (*chain((384, 1), (448, one), (512, two)), split),
    )


def layers(
    stem: tuple[Block, ...], is_slim: bool, *names: Sequence[str]
) -> tuple[Block, ...]:
    """All layers; `names` are those of A, and of B and C behind the reduction to each."""
    a, b, c = names
    return (
        *stem,  # 35 x 35 x 384
        *(block_a(name, is_slim) for name in a),  # 35 x 35 x 384
        reduction_a(b[0], is_slim, 192, 224, 256, 384),  # 17 x 17 x 1024
        *(block_b(name, is_slim) for name in b[1:]),  # 17 x 17 x 1024
        reduction_b(c[0], is_slim),  # 8 x 8 x 1536
        *(block_c(name, is_slim) for name in c[1:]),  # 8 x 8 x 1536
        GlobalPool(name="pool"),  # 1536
        Dropout(0.8, name="dropout"),
    )


INCEPTION_V4 = NetSpec(
    "inception_v4",
    family="inception",
    image_size_px=299,
    num_classes=10,
    parameters=41_189_770,
    reference=f"{REFERENCE}, figures 3 to 9",
    defaults=DEFAULTS,
    blocks=layers(
        *(STEM, False),
        [f"a{place}" for place in range(1, 5)],
        ["reduction_a", *(f"b{place}" for place in range(1, 8))],
        ["reduction_b", *(f"c{place}" for place in range(1, 4))],
    ),
)
INCEPTION_V4_SLIM = NetSpec(
    "inception_v4_slim",
    family="inception",
    image_size_px=299,
    num_classes=1001,
    parameters=42_649_769,
    reference=f"{REFERENCE}, figures 3 to 9, as tf-slim's",
    defaults=INCEPTION,
    blocks=layers(
        *(stem(("1a", "2a", "2b", "3a", "4a", "5a"), ROW, COLUMN), True),
        [f"5{letter}" for letter in "bcde"],
        [f"6{letter}" for letter in "abcdefgh"],
        [f"7{letter}" for letter in "abcd"],
    ),
    sources=(inception_source("InceptionV4", ONES_299),),
)

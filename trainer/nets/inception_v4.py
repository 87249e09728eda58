"""Inception-v4."""

from trainer.nets.blocks import (
    Block,
    Conv,
    Defaults,
    Dropout,
    GlobalPool,
    Kernel,
    Mixed,
    NetSpec,
    Pool,
)

# Convolutions keep a bias beside batch norm, as in the system reproduced: it changes
# nothing but the parameter count.
DEFAULTS = Defaults(bias=True, norm_epsilon=0.001)
REFERENCE = "Szegedy et al., arXiv:1602.07261"

# The paper's stem: 299 -> 35 px, 384 channels.
STEM: tuple[Block, ...] = (
    Conv(32, 3, 2, "VALID", name="stem/conv1"),  # 149 x 149 x 32
    Conv(32, 3, padding="VALID", name="stem/conv2"),  # 147 x 147 x 32
    Conv(64, 3, name="stem/conv3"),  # 147 x 147 x 64
    Mixed(
        ((Pool("max", 3, 2, "VALID"),), (Conv(96, 3, 2, "VALID"),)), name="stem/mixed1"
    ),  # 73 x 73 x 160
    Mixed(
        (
            (Conv(64, 1), Conv(96, 3, padding="VALID")),
            (
                Conv(64, 1),
                Conv(64, (7, 1)),
                Conv(64, (1, 7)),
                Conv(96, 3, padding="VALID"),
            ),
        ),
        name="stem/mixed2",
    ),  # 71 x 71 x 192
    Mixed(
        ((Conv(192, 3, 2, "VALID"),), (Pool("max", 3, 2, "VALID"),)), name="stem/mixed3"
    ),  # 35 x 35 x 384
)


def chain(*layers: tuple[int, Kernel]) -> tuple[Block, ...]:
    """Convolutions in a row, by filters and kernel."""
    return tuple(Conv(filters, kernel) for filters, kernel in layers)


def block_a(name: str) -> Mixed:
    """35 x 35 x 384."""
    return Mixed(
        (
            (Pool("avg", 3), Conv(96, 1)),
            chain((96, 1)),
            chain((64, 1), (96, 3)),
            chain((64, 1), (96, 3), (96, 3)),
        ),
        name=name,
    )


def reduction_a(k: int, l: int, m: int, n: int) -> Mixed:  # noqa: E741
    """Halves; the letters are those of the paper's table 1."""
    return Mixed(
        (
            (Pool("max", 3, 2, "VALID"),),
            (Conv(n, 3, 2, "VALID"),),
            (*chain((k, 1), (l, 3)), Conv(m, 3, 2, "VALID")),
        ),
        name="reduction_a",
    )


def block_b(name: str) -> Mixed:
    """17 x 17 x 1024. The third branch has 7x1 last, as the paper."""
    return Mixed(
        (
            (Pool("avg", 3), Conv(128, 1)),
            chain((384, 1)),
            chain((192, 1), (224, (1, 7)), (256, (7, 1))),
            chain((192, 1), (192, (1, 7)), (224, (7, 1)), (224, (1, 7)), (256, (7, 1))),
        ),
        name=name,
    )


REDUCTION_B = Mixed(
    (
        (Pool("max", 3, 2, "VALID"),),
        (Conv(192, 1), Conv(192, 3, 2, "VALID")),
        (*chain((256, 1), (256, (1, 7)), (320, (7, 1))), Conv(320, 3, 2, "VALID")),
    ),
    name="reduction_b",
)


def block_c(name: str) -> Mixed:
    """8 x 8 x 1536."""
    split = Mixed((chain((256, (1, 3))), chain((256, (3, 1)))))
    return Mixed(
        (
            (Pool("avg", 3), Conv(256, 1)),
            chain((256, 1)),
            (*chain((384, 1)), split),
            (*chain((384, 1), (448, (1, 3)), (512, (3, 1))), split),
        ),
        name=name,
    )


INCEPTION_V4 = NetSpec(
    "inception_v4",
    family="inception",
    image_size_px=299,
    channels=3,
    num_classes=10,
    parameters=41_189_770,
    reference=f"{REFERENCE}, figures 3 to 9",
    defaults=DEFAULTS,
    blocks=(
        *STEM,  # 35 x 35 x 384
        *(block_a(f"a{place}") for place in range(1, 5)),  # 35 x 35 x 384
        reduction_a(192, 224, 256, 384),  # 17 x 17 x 1024
        *(block_b(f"b{place}") for place in range(1, 8)),  # 17 x 17 x 1024
        REDUCTION_B,  # 8 x 8 x 1536
        *(block_c(f"c{place}") for place in range(1, 4)),  # 8 x 8 x 1536
        GlobalPool(name="pool"),  # 1536
        Dropout(0.8, name="dropout"),
    ),
)

"""Inception-ResNet v1 and v2: Inception blocks as bodies of residual units."""

from dataclasses import replace

from trainer.nets.blocks import (
    Block,
    Conv,
    Dropout,
    GlobalPool,
    Mixed,
    NetSpec,
    Pool,
    Residual,
)
from trainer.nets.inception_v3 import COLUMN, HALVING, ROW, chain, halving
from trainer.nets.inception_v4 import DEFAULTS, REFERENCE, STEM, mixed, reduction_a

# The paper scales bodies by 0.1 to 0.3 before they are added; the middle of it.
RESIDUAL_SCALE = 0.2

STEM_V1: tuple[Block, ...] = (
    Conv(32, 3, 2, "VALID", name="stem/conv1"),  # 149 x 149 x 32
    Conv(32, 3, padding="VALID", name="stem/conv2"),  # 147 x 147 x 32
    Conv(64, 3, name="stem/conv3"),  # 147 x 147 x 64
    Pool("max", 3, 2, "VALID", name="stem/pool"),  # 73 x 73 x 64
    Conv(80, 1, name="stem/conv4"),  # 73 x 73 x 80
    Conv(192, 3, padding="VALID", name="stem/conv5"),  # 71 x 71 x 192
    Conv(256, 3, 2, "VALID", name="stem/conv6"),  # 35 x 35 x 256
)
# Branches of v2's units.
BRANCHES_A = (
    chain((32, 1)),
    chain((32, 1), (32, 3)),
    chain((32, 1), (48, 3), (64, 3)),
)
BRANCHES_B = (chain((192, 1)), chain((128, 1), (160, ROW), (192, COLUMN)))
BRANCHES_C = (chain((192, 1)), chain((192, 1), (224, (1, 3)), (256, (3, 1))))


def units(
    prefix: str, count: int, channels: int, *branches: tuple[Block, ...]
) -> tuple[Residual, ...]:
    """Residual units: the branches, and a linear 1x1 back to the depth of the input.

    The paper's figures print 1154 and 2048 channels for the last 1x1 of v2; only the
    depth of the input can be added to it.
    """
    body = (Mixed(branches, name="mixed"), Conv(channels, 1, activation="linear"))
    return tuple(
        Residual(body, name=f"{prefix}{place}") for place in range(1, count + 1)
    )


def reduction_b(
    name: str, is_slim: bool, second: int, middle: int, third: int
) -> Mixed:
    """Halves: a max pool beside three branches that end in so many filters."""
    return mixed(
        *(name, is_slim, (HALVING,)),
        (Conv(256, 1), halving(384)),
        (Conv(256, 1), halving(second)),
        (*chain((256, 1), (middle, 3)), halving(third)),
    )


def inception_resnet(version: int, parameters: int, *blocks: Block) -> NetSpec:
    """A net of the paper; head and defaults are the same for both."""
    return NetSpec(
        f"inception_resnet_v{version}",
        family="inception",
        image_size_px=299,
        num_classes=10,
        parameters=parameters,
        reference=f"{REFERENCE}, figure 15 and section 3.3",
        defaults=replace(DEFAULTS, residual_scale=RESIDUAL_SCALE),
        blocks=(*blocks, GlobalPool(name="pool"), Dropout(0.8, name="dropout")),
    )


INCEPTION_RESNET_V1 = inception_resnet(
    1,
    21_033_178,
    *STEM_V1,  # 35 x 35 x 256
    *units(
        *("a", 5, 256),  # 35 x 35 x 256
        chain((32, 1)),
        chain((32, 1), (32, 3)),
        chain((32, 1), (32, 3), (32, 3)),
    ),
    reduction_a("reduction_a", False, 192, 192, 256, 384),  # 17 x 17 x 896
    *units(
        *("b", 10, 896),  # 17 x 17 x 896
        chain((128, 1)),
        chain((128, 1), (128, ROW), (128, COLUMN)),
    ),
    reduction_b("reduction_b", False, 256, 256, 256),  # 8 x 8 x 1792
    *units(
        *("c", 5, 1792),  # 8 x 8 x 1792
        chain((192, 1)),
        chain((192, 1), (192, (1, 3)), (192, (3, 1))),
    ),
)
INCEPTION_RESNET_V2 = inception_resnet(
    2,
    30_375_130,
    *STEM,  # 35 x 35 x 384
    *units("a", 5, 384, *BRANCHES_A),  # 35 x 35 x 384
    reduction_a("reduction_a", False, 256, 256, 384, 384),  # 17 x 17 x 1152
    *units("b", 10, 1152, *BRANCHES_B),  # 17 x 17 x 1152
    reduction_b("reduction_b", False, 288, 288, 320),  # 8 x 8 x 2144
    *units("c", 5, 2144, *BRANCHES_C),  # 8 x 8 x 2144
)

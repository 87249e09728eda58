"""The eight nets of an ablation: a plain CNN, batch norm, and one trick more a net."""

from collections.abc import Sequence
from itertools import chain

from trainer.nets.blocks import (
    Activation,
    BatchNorm,
    Block,
    Conv,
    Defaults,
    Dense,
    Dropout,
    Flatten,
    GlobalPool,
    Mixed,
    NetSpec,
    Pool,
)

FILTERS = (64, 128, 256, 512, 1024, 1024)


def conv(place: int, *, has_norm: bool = True) -> tuple[Block, ...]:
    """A 5x5 convolution, its activation, then batch norm."""
    layer = Conv(FILTERS[place - 1], 5, name=f"conv{place}")
    return (layer, norm(place)) if has_norm else (layer,)


def double_conv(place: int) -> tuple[Block, ...]:
    """Two 3x3 convolutions, which see as far as a 5x5, each with batch norm."""
    return tuple(
        block
        for letter in "ab"
        for block in (
            Conv(FILTERS[place - 1], 3, name=f"conv{place}{letter}"),
            norm(f"{place}{letter}"),
        )
    )


def concat(place: int) -> tuple[Block, ...]:
    """Module of four branches, 384 + 256 + 256 + 128 filters, then batch norm."""
    branches: tuple[tuple[Block, ...], ...] = (
        (Conv(384, 1),),
        (Conv(384, 1), Conv(256, 3)),
        (Conv(256, 1), Conv(256, 5)),
        (Pool("max", 3), Conv(128, 1)),
    )
    return (Mixed(branches, name=f"concat{place}"), norm(place))


def norm(place: int | str) -> Block:
    """Batch norm of the layer at `place`."""
    return BatchNorm(name=f"norm{place}")


def halved(groups: Sequence[tuple[Block, ...]]) -> tuple[Block, ...]:
    """All groups with a 2x2 max pool between each and the next."""
    pools = (Pool("max", 2, 2, name=f"pool{n}") for n in range(1, len(groups)))
    rest = chain.from_iterable(
        (pool, *group) for pool, group in zip(pools, groups[1:], strict=True)
    )
    return (*groups[0], *rest)


DENSE = (Flatten(name="flatten"), Dense(1024, name="fc1"))  # 7 x 7 x 1024 = 50176
DROPOUT = Dropout(0.5, name="dropout")
WITH_NORM = [conv(place) for place in range(1, 7)]


def cnn(
    name: str,
    parameters: int,
    *blocks: Block,
    activation: Activation = "sigmoid",
) -> NetSpec:
    """A net of the ablation; all take 224 px, so that the last maps are 7 x 7."""
    return NetSpec(
        name,
        family="cnn",
        num_classes=16,
        parameters=parameters,
        reference="ablation on 16 classes of Caltech-101 (docs/systems.md, section 5)",
        defaults=Defaults(activation=activation, norm=False),
        blocks=blocks,
    )


CNN_SIGMOID = cnn(
    "cnn_sigmoid",
    95_027_856,
    *halved([conv(place, has_norm=False) for place in range(1, 7)]),
    *DENSE,
)
CNN_BN = cnn("cnn_bn", 95_033_872, *halved(WITH_NORM), *DENSE)
CNN_LEAKY = cnn(
    "cnn_leaky", 95_033_872, *halved(WITH_NORM), *DENSE, activation="leaky_relu"
)
CNN_GAP = cnn("cnn_gap", 43_652_624, *halved(WITH_NORM), GlobalPool(name="pool"))
CNN_DROPOUT = cnn("cnn_dropout", 95_033_872, *halved(WITH_NORM), *DENSE, DROPOUT)
CNN_3X3 = cnn(
    "cnn_3x3", 89_129_296, *halved([double_conv(n) for n in range(1, 7)]), *DENSE
)
CNN_CONCAT = cnn(
    "cnn_concat",
    85_040_272,
    *halved([*WITH_NORM[:4], concat(5), WITH_NORM[5]]),
    *DENSE,
    DROPOUT,
)
CNN_ALL_TRICKS = cnn(
    "cnn_all_tricks",
    8_392_464,
    *halved(
        [
            *((Conv(FILTERS[n - 1], 3, name=f"conv{n}"), norm(n)) for n in range(1, 5)),
            concat(5),
            concat(6),
        ]
    ),
    GlobalPool(name="pool"),
    DROPOUT,
    activation="leaky_relu",
)

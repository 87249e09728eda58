"""The eight nets of an ablation: a plain CNN, batch norm, and one trick more a net."""

from collections.abc import Sequence

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


def conv(
    place: int, suffix: str = "", kernel: int = 5, *, has_norm: bool = True
) -> tuple[Block, ...]:
    """A convolution, its activation, then batch norm."""
    layer = Conv(FILTERS[place - 1], kernel, name=f"conv{place}{suffix}")
    return (layer, norm(f"{place}{suffix}")) if has_norm else (layer,)


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
    blocks = list(groups[0])
    for number, group in enumerate(groups[1:], 1):
        blocks += [Pool("max", 2, 2, name=f"pool{number}"), *group]
    return tuple(blocks)


def cnn(
    name: str,
    parameters: int,
    groups: Sequence[tuple[Block, ...]],
    *others: Block,
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
        blocks=(*halved(groups), *others),
    )


DENSE = (Flatten(name="flatten"), Dense(1024, name="fc1"))  # 7 x 7 x 1024 = 50176
MEANS = GlobalPool(name="pool")
DROPOUT = Dropout(0.5, name="dropout")
PLAIN = [conv(place, has_norm=False) for place in range(1, 7)]
WITH_NORM = [conv(place) for place in range(1, 7)]
# Two 3x3 convolutions have the receptive field of a 5x5.
WITH_3X3 = [(*conv(place, "a", 3), *conv(place, "b", 3)) for place in range(1, 7)]
WITH_CONCAT = [*WITH_NORM[:4], concat(5), WITH_NORM[5]]
ALL_TRICKS = [*(conv(n, kernel=3) for n in range(1, 5)), concat(5), concat(6)]

CNN_SIGMOID = cnn("cnn_sigmoid", 95_027_856, PLAIN, *DENSE)
CNN_BN = cnn("cnn_bn", 95_033_872, WITH_NORM, *DENSE)
CNN_LEAKY = cnn("cnn_leaky", 95_033_872, WITH_NORM, *DENSE, activation="leaky_relu")
CNN_GAP = cnn("cnn_gap", 43_652_624, WITH_NORM, MEANS)
CNN_DROPOUT = cnn("cnn_dropout", 95_033_872, WITH_NORM, *DENSE, DROPOUT)
CNN_3X3 = cnn("cnn_3x3", 89_129_296, WITH_3X3, *DENSE)
CNN_CONCAT = cnn("cnn_concat", 85_040_272, WITH_CONCAT, *DENSE, DROPOUT)
CNN_ALL_TRICKS = cnn(
    "cnn_all_tricks", 8_392_464, ALL_TRICKS, MEANS, DROPOUT, activation="leaky_relu"
)

"""Residual nets with bottlenecks as tf-slim and Keras publish them.

They halve elsewhere than `resnet_50`: tf-slim's on the 3x3 of the last unit of a group,
Keras's on the first 1x1 of the first unit.
"""

from trainer.config import PreprocessingConfig
from trainer.nets.blocks import (
    HE_NORMAL,
    Activate,
    BatchNorm,
    Block,
    Conv,
    Defaults,
    GlobalPool,
    NetSpec,
    Pool,
    Residual,
    Shortcut,
)
from trainer.nets.published import MEANS_224, ONES_299, Source
from trainer.nets.resnet import Unit, bottleneck, group, middle

DEFAULTS = Defaults(HE_NORMAL, norm_decay=0.997)
# Names as `conv2_block1_1_conv/kernel`. Images have blue first.
KERAS = Source(
    "keras",
    "keras.applications",
    (
        (r"^conv1_(conv|bn)/", "conv1/"),
        (r"^conv(\d)_block(\d+)_0_(conv|bn)/", r"conv\1/unit\2/shortcut/"),
        (r"^conv(\d)_block(\d+)_(\d)_(conv|bn)/", r"conv\1/unit\2/conv_\3/"),
        (r"^(conv.*)/biases$", r"\1/BiasAdd/biases"),
        (r"^predictions/", "logits/"),
    ),
    MEANS_224,
    reversed_channels=True,
)


def slim_source(images: PreprocessingConfig) -> Source:
    """Names as `resnet_v1_50/block1/unit_1/bottleneck_v1/conv1/weights`."""
    rules = (
        (r"^resnet_v\d_\d+/", ""),
        (r"^block(\d)/unit_(\d+)/bottleneck_v\d/", r"group\1/unit\2/"),
        (r"^(group\d/unit\d+)/conv(\d)/", r"\1/conv_\2/"),
    )
    return Source("slim", "tf-slim", rules, images)


def keras_unit(name: str, filters: int, stride: int, shortcut: Shortcut) -> Residual:
    """`bottleneck` with the stride on the first 1x1."""
    last = Conv(4 * filters, 1, activation="linear")
    body = (Conv(filters, 1, stride), Conv(filters, 3), last)
    return Residual(body, shortcut, stride, name=name)


def unit_v2(name: str, filters: int, stride: int, shortcut: Shortcut) -> Residual:
    """Batch norm and ReLU before body and projection; nothing after the sum."""
    last = Conv(4 * filters, 1, activation="linear", norm=False)
    projection = Conv(4 * filters, 1, activation="linear", norm=False, name="shortcut")
    return Residual(
        (Conv(filters, 1), middle(filters, stride), last),
        (projection,) if shortcut == "projection" else shortcut,
        stride,
        activation="linear",
        entry=(BatchNorm(name="preact"), Activate("relu")),
        name=name,
    )


def slim_groups(unit: Unit, units: tuple[int, ...]) -> tuple[Block, ...]:
    """The four groups: the first unit projects its shortcut, the last halves.

    At 224 px: 28 x 28 x 256, 14 x 14 x 512, 7 x 7 x 1024 and, without halving, 7 x 7 x 2048.
    """
    return tuple(
        unit(
            f"group{number}/unit{place}",
            32 * 2**number,
            2 if place == count and number < len(units) else 1,
            "projection" if place == 1 else "identity",
        )
        for number, count in enumerate(units, 1)
        for place in range(1, count + 1)
    )


def resnet_v1(name: str, units: tuple[int, ...], parameters: int) -> NetSpec:
    """tf-slim's net with so many units in its groups."""
    return NetSpec(
        name,
        family="resnet",
        parameters=parameters,
        reference="He et al., arXiv:1512.03385, table 1, as tf-slim's",
        defaults=DEFAULTS,
        blocks=(
            Conv(64, 7, 2, padding=3, name="conv1"),  # 112 x 112 x 64
            Pool("max", 3, 2, name="pool1"),  # 56 x 56 x 64
            *slim_groups(bottleneck, units),
            GlobalPool(name="pool5"),  # 2048
        ),
        sources=(slim_source(MEANS_224),),
    )


RESNET_V1_50 = resnet_v1("resnet_v1_50", (3, 4, 6, 3), parameters=25_557_032)
RESNET_V1_101 = resnet_v1("resnet_v1_101", (3, 4, 23, 3), parameters=44_549_160)
RESNET_V2_50 = NetSpec(
    "resnet_v2_50",
    family="resnet",
    image_size_px=299,
    num_classes=1001,
    parameters=25_570_409,
    reference="He et al., arXiv:1603.05027, figure 4e, as tf-slim's",
    defaults=DEFAULTS,
    blocks=(
        # The first unit brings batch norm and ReLU.
        Conv(64, 7, 2, padding=3, activation="linear", norm=False, name="conv1"),
        Pool("max", 3, 2, name="pool1"),
        *slim_groups(unit_v2, (3, 4, 6, 3)),
        BatchNorm(name="postnorm"),
        Activate("relu", name="relu"),
        GlobalPool(name="pool5"),  # 2048
    ),
    sources=(slim_source(ONES_299),),
)
# After the authors' own weights. The first pool is padded on all sides, and convolutions
# keep a bias beside batch norm.
RESNET_50_KERAS = NetSpec(
    "resnet_50_keras",
    family="resnet",
    parameters=25_583_592,
    reference="He et al., arXiv:1512.03385, table 1, as Keras's",
    defaults=Defaults(HE_NORMAL, bias=True, norm_decay=0.99),
    blocks=(
        Conv(64, 7, 2, padding=3, name="conv1"),  # 112 x 112 x 64
        Pool("max", 3, 2, padding=1, name="pool1"),  # 56 x 56 x 64
        *group("conv2", keras_unit, 64, 3, 1, "projection"),  # 56 x 56 x 256
        *group("conv3", keras_unit, 128, 4, 2, "projection"),  # 28 x 28 x 512
        *group("conv4", keras_unit, 256, 6, 2, "projection"),  # 14 x 14 x 1024
        *group("conv5", keras_unit, 512, 3, 2, "projection"),  # 7 x 7 x 2048
        GlobalPool(name="pool5"),  # 2048
    ),
    sources=(KERAS,),
)

"""ResNet-50 as Keras publishes it, after the first authors' own weights.

It differs from `resnet_50` in what a parameter count does not show: the first 1x1 of a group
halves, not the 3x3, the first pool is padded on all sides, and convolutions keep a bias
beside batch norm.
"""

from trainer.nets.blocks import (
    HE_NORMAL,
    Block,
    Conv,
    Defaults,
    GlobalPool,
    NetSpec,
    Pool,
    Residual,
    Shortcut,
)
from trainer.nets.published import Source
from trainer.nets.slim_form import MEANS_224

# Names as `conv2_block1_1_conv/kernel`; its images have blue first.
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


def group(name: str, filters: int, units: int, stride: int = 2) -> tuple[Block, ...]:
    """Units of 1x1, 3x3 and a 1x1 to four times `filters`; the first halves and projects."""
    rows = []
    for place in range(1, units + 1):
        step = stride if place == 1 else 1
        last = Conv(4 * filters, 1, activation="linear")
        body = (Conv(filters, 1, step), Conv(filters, 3), last)
        shortcut: Shortcut = "projection" if place == 1 else "identity"
        rows.append(Residual(body, shortcut, step, name=f"{name}/unit{place}"))
    return tuple(rows)


RESNET_50_KERAS = NetSpec(
    "resnet_50_keras",
    family="resnet",
    image_size_px=224,
    channels=3,
    num_classes=1000,
    parameters=25_583_592,
    reference="He et al., arXiv:1512.03385, table 1, as Keras's",
    defaults=Defaults(HE_NORMAL, bias=True, norm_decay=0.99),
    blocks=(
        Conv(64, 7, 2, padding=3, name="conv1"),  # 112 x 112 x 64
        Pool("max", 3, 2, padding=1, name="pool1"),  # 56 x 56 x 64
        *group("conv2", 64, 3, stride=1),  # 56 x 56 x 256
        *group("conv3", 128, 4),  # 28 x 28 x 512
        *group("conv4", 256, 6),  # 14 x 14 x 1024
        *group("conv5", 512, 3),  # 7 x 7 x 2048
        GlobalPool(name="pool5"),  # 2048
    ),
    sources=(KERAS,),
)

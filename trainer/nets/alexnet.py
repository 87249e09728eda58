"""AlexNet in one tower, without local response normalisation: two published forms."""

from dataclasses import replace

from trainer.nets.blocks import (
    HE_NORMAL,
    Block,
    Conv,
    Defaults,
    Dense,
    Dropout,
    Flatten,
    NetSpec,
    Pool,
)
from trainer.nets.published import MEANS_224, Source

# Between the maps and the class layer, of VGG too.
CLASSIFIER: tuple[Block, ...] = (
    Flatten(name="flatten"),
    Dense(4096, name="fc6"),
    Dropout(0.5, name="dropout6"),
    Dense(4096, name="fc7"),
    Dropout(0.5, name="dropout7"),
)


def convolutions(conv1: Conv, filters2: int) -> tuple[Block, ...]:
    """The maps; their sides are those of both forms at 224 px."""
    return (
        replace(conv1, name="conv1"),  # 55 or 54
        Pool("max", 3, 2, "VALID", name="pool1"),  # 27 or 26
        Conv(filters2, 5, name="conv2"),
        Pool("max", 3, 2, "VALID", name="pool2"),  # 13 or 12
        Conv(384, 3, name="conv3"),
        Conv(384, 3, name="conv4"),
        Conv(256, 3, name="conv5"),
        Pool("max", 3, 2, "VALID", name="pool5"),  # 6 or 5
    )


ALEXNET = NetSpec(
    "alexnet",
    family="alexnet",
    num_classes=16,
    parameters=58_346_896,
    reference="Krizhevsky et al., NIPS 2012, section 3.5, in one tower",
    defaults=Defaults(weight_init=HE_NORMAL, norm=False),
    blocks=(*convolutions(Conv(96, 11, 4, padding=2), 256), *CLASSIFIER),
)
# The second paper's, with fewer filters; conv1 is not padded.
ALEXNET_SLIM = NetSpec(
    "alexnet_slim",
    family="alexnet",
    parameters=50_303_912,
    reference="Krizhevsky, arXiv:1404.5997, as tf-slim's alexnet_v2",
    defaults=Defaults(norm=False),
    blocks=(*convolutions(Conv(64, 11, 4, "VALID"), 192), *CLASSIFIER),
    sources=(
        Source(
            "slim",
            "tf-slim",
            ((r"^alexnet_v2/", ""), (r"^fc8/", "logits/")),
            MEANS_224,
        ),
    ),
)

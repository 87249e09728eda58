"""AlexNet in one tower, without local response normalisation: two published forms."""

from trainer.nets.blocks import (
    HE_NORMAL,
    Conv,
    Defaults,
    Dense,
    Dropout,
    Flatten,
    NetSpec,
    Pool,
)
from trainer.nets.published import Source
from trainer.nets.slim_form import MEANS_224

ALEXNET = NetSpec(
    "alexnet",
    family="alexnet",
    image_size_px=224,
    channels=3,
    num_classes=16,
    parameters=58_346_896,
    reference="Krizhevsky et al., NIPS 2012, section 3.5, in one tower",
    defaults=Defaults(weight_init=HE_NORMAL, norm=False),
    blocks=(
        Conv(96, 11, 4, padding=2, name="conv1"),  # 55 x 55 x 96
        Pool("max", 3, 2, "VALID", name="pool1"),  # 27 x 27 x 96
        Conv(256, 5, name="conv2"),  # 27 x 27 x 256
        Pool("max", 3, 2, "VALID", name="pool2"),  # 13 x 13 x 256
        Conv(384, 3, name="conv3"),  # 13 x 13 x 384
        Conv(384, 3, name="conv4"),  # 13 x 13 x 384
        Conv(256, 3, name="conv5"),  # 13 x 13 x 256
        Pool("max", 3, 2, "VALID", name="pool5"),  # 6 x 6 x 256
        Flatten(name="flatten"),  # 9216
        Dense(4096, name="fc6"),
        Dropout(0.5, name="dropout6"),
        Dense(4096, name="fc7"),
        Dropout(0.5, name="dropout7"),
    ),
)

# The second paper's, with fewer filters; conv1 and the pools are not padded.
ALEXNET_SLIM = NetSpec(
    "alexnet_slim",
    family="alexnet",
    image_size_px=224,
    channels=3,
    num_classes=1000,
    parameters=50_303_912,
    reference="Krizhevsky, arXiv:1404.5997, as tf-slim's alexnet_v2",
    defaults=Defaults(norm=False),
    blocks=(
        Conv(64, 11, 4, "VALID", name="conv1"),  # 54 x 54 x 64
        Pool("max", 3, 2, "VALID", name="pool1"),  # 26 x 26 x 64
        Conv(192, 5, name="conv2"),  # 26 x 26 x 192
        Pool("max", 3, 2, "VALID", name="pool2"),  # 12 x 12 x 192
        Conv(384, 3, name="conv3"),  # 12 x 12 x 384
        Conv(384, 3, name="conv4"),  # 12 x 12 x 384
        Conv(256, 3, name="conv5"),  # 12 x 12 x 256
        Pool("max", 3, 2, "VALID", name="pool5"),  # 5 x 5 x 256
        Flatten(name="flatten"),  # 6400
        Dense(4096, name="fc6"),
        Dropout(0.5, name="dropout6"),
        Dense(4096, name="fc7"),
        Dropout(0.5, name="dropout7"),
    ),
    sources=(
        Source(
            "slim",
            "tf-slim",
            ((r"^alexnet_v2/", ""), (r"^fc8/", "logits/")),
            MEANS_224,
        ),
    ),
)

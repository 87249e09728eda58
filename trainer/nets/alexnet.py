"""AlexNet in one tower, without local response normalisation."""

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

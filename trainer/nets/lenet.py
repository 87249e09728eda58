"""LeNet-5 at its own 32 px, and the sigmoid LeNet for photographs of 224 px."""

from trainer.nets.blocks import (
    Conv,
    Defaults,
    Dense,
    Flatten,
    NetSpec,
    Pool,
)

LENET_5 = NetSpec(
    "lenet_5",
    family="lenet",
    image_size_px=32,
    channels=1,
    num_classes=10,
    parameters=61_706,
    reference="LeCun et al., Proceedings of the IEEE 86(11), 1998, figure 2",
    defaults=Defaults(activation="tanh", norm=False),
    blocks=(
        Conv(6, 5, padding="VALID", name="c1"),  # 28 x 28 x 6
        Pool("avg", 2, 2, "VALID", name="s2"),  # 14 x 14 x 6
        # The paper joins C3 to some maps of S2 only; all of them here.
        Conv(16, 5, padding="VALID", name="c3"),  # 10 x 10 x 16
        Pool("avg", 2, 2, "VALID", name="s4"),  # 5 x 5 x 16
        Conv(120, 5, padding="VALID", name="c5"),  # 1 x 1 x 120
        Flatten(name="flatten"),  # 120
        Dense(84, name="f6"),
    ),
)

LENET = NetSpec(
    "lenet",
    family="lenet",
    num_classes=16,
    parameters=25_235_156,
    reference="after LeCun et al., 1998, with sigmoids and max pools",
    defaults=Defaults(activation="sigmoid", norm=False),
    blocks=(
        Conv(6, 5, padding="VALID", name="conv1"),  # 220 x 220 x 6
        Pool("max", 2, 2, "VALID", name="pool1"),  # 110 x 110 x 6
        Conv(16, 5, padding="VALID", name="conv2"),  # 106 x 106 x 16
        Pool("max", 2, 2, "VALID", name="pool2"),  # 53 x 53 x 16
        Conv(120, 4, padding="VALID", name="conv3"),  # 50 x 50 x 120
        Flatten(name="flatten"),  # 300000
        Dense(84, name="fc4"),
    ),
)

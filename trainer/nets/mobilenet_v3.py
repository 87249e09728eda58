"""The large MobileNet v3."""

from trainer.nets.blocks import (
    Block,
    Conv,
    Dense,
    GlobalPool,
    InvertedResidual,
    SqueezeExcite,
    scaled,
)
from trainer.nets.mobilenet import mobilenet, published
from trainer.nets.primitives import Activation
from trainer.nets.published import Rule

# Keras has renamed its layers; its older names, and those in its files, are slim's.
RULES: tuple[Rule, ...] = (
    (r"^MobilenetV3/", ""),
    (r"(/BatchNorm|_bn)/BatchNorm/", "/BatchNorm/"),
    (r"^expanded_conv[_/](depthwise|project)/", r"block0/\1/"),
    (r"^expanded_conv_(\d+)[_/]", r"block\1/"),
    (r"/squeeze_excite[_/][Cc]onv/", "/squeeze/reduce/"),
    (r"/squeeze_excite[_/][Cc]onv_1/", "/squeeze/expand/"),
    (r"^[Cc]onv/", "stem/"),
    (r"^[Cc]onv_1/", "head/"),
    (r"^[Cc]onv_2/", "last/"),
    (r"^[Ll]ogits/(?!Conv2d)", "logits/"),
)
# Kernel, channels inside, filters, squeeze and excite, activation, stride.
UNITS: tuple[tuple[int, int, int, bool, Activation, int], ...] = (
    (3, 16, 16, False, "relu", 1),  # 112 x 112 x 16
    (3, 64, 24, False, "relu", 2),  # 56 x 56 x 24
    (3, 72, 24, False, "relu", 1),
    (5, 72, 40, True, "relu", 2),  # 28 x 28 x 40
    (5, 120, 40, True, "relu", 1),
    (5, 120, 40, True, "relu", 1),
    (3, 240, 80, False, "hard_swish", 2),  # 14 x 14 x 80
    (3, 200, 80, False, "hard_swish", 1),
    (3, 184, 80, False, "hard_swish", 1),
    (3, 184, 80, False, "hard_swish", 1),
    (3, 480, 112, True, "hard_swish", 1),  # 14 x 14 x 112
    (3, 672, 112, True, "hard_swish", 1),
    (5, 672, 160, True, "hard_swish", 2),  # 7 x 7 x 160
    (5, 960, 160, True, "hard_swish", 1),
    (5, 960, 160, True, "hard_swish", 1),
)


BLOCKS: tuple[Block, ...] = (
    Conv(16, 3, 2, activation="hard_swish", name="stem"),  # 112 x 112 x 16
    *(
        InvertedResidual(
            inside,
            filters,
            kernel,
            stride,
            SqueezeExcite(scaled(inside, 0.25), "relu", "hard_sigmoid", name="squeeze")
            if has_squeeze
            else None,
            activation,
            name=f"block{number}",
        )
        for number, (kernel, inside, filters, has_squeeze, activation, stride) in (
            enumerate(UNITS)
        )
    ),
    Conv(960, 1, activation="hard_swish", name="head"),  # 7 x 7 x 960
    GlobalPool(name="pool"),  # 960
    Dense(1280, activation="hard_swish", norm=False, name="last"),  # 1280
)

V3_LARGE = mobilenet(
    "mobilenet_v3_large",
    5_483_032,
    "Howard et al., arXiv:1905.02244, table 1",
    (published("slim", *RULES), published("keras", *RULES)),
    *BLOCKS,
    keep_prob=0.8,
)

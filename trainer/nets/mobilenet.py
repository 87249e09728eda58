"""MobileNet v1 and v2 of several widths."""

from trainer.nets.blocks import (
    HE_NORMAL,
    Block,
    Conv,
    Defaults,
    DepthwiseConv,
    Dropout,
    GlobalPool,
    InvertedResidual,
    NetSpec,
    scaled,
)
from trainer.nets.published import HALF, Layout, Rule, Source, fixed


def published(layout: Layout, *rules: Rule) -> Source:
    """The weights of tf-slim's or Keras's authors; the last layer of slim is a 1x1."""
    origin = {"slim": "tensorflow/models, research/slim", "keras": "keras.applications"}
    rules = (*rules, (r"^(Logits/Conv2d_1c_1x1|conv_preds|predictions)/", "logits/"))
    return Source(layout, origin[layout], rules, fixed(256, 224, *HALF, "bilinear"))


V1_SOURCES = (
    published(
        "slim",
        (r"^MobilenetV1/", ""),
        (r"^Conv2d_0/", "stem/"),
        (r"^Conv2d_(\d+)_(depthwise|pointwise)/", r"block\1/\2/"),
    ),
    published(
        "keras",
        (r"^conv1(_bn)?/", "stem/"),
        (r"^conv_dw_(\d+)(_bn)?/", r"block\1/depthwise/"),
        (r"^conv_pw_(\d+)(_bn)?/", r"block\1/pointwise/"),
    ),
)
V2_SOURCES = (
    published(
        "slim",
        (r"^MobilenetV2/", ""),
        (r"^expanded_conv/", "block0/"),
        (r"^expanded_conv_(\d+)/", r"block\1/"),
        (r"^Conv/", "stem/"),
        (r"^Conv_1/", "head/"),
    ),
    published(
        "keras",
        (r"^(Conv1|bn_Conv1)/", "stem/"),
        (r"^expanded_conv_", "block_0_"),
        (r"^block_(\d+)_(expand|depthwise|project)(_BN)?/", r"block\1/\2/"),
        (r"^Conv_1(_bn)?/", "head/"),
    ),
)
# Filters and stride of each unit.
V1_UNITS = (
    (64, 1),  # 112 x 112 x 64
    *((128, 2), (128, 1)),  # 56 x 56 x 128
    *((256, 2), (256, 1)),  # 28 x 28 x 256
    *((512, 2), *[(512, 1)] * 5),  # 14 x 14 x 512
    *((1024, 2), (1024, 1)),  # 7 x 7 x 1024
)
# Expansion, filters and stride of each unit.
V2_UNITS = (
    (1, 16, 1),  # 112 x 112 x 16
    *((6, 24, 2), (6, 24, 1)),  # 56 x 56 x 24
    *((6, 32, 2), *[(6, 32, 1)] * 2),  # 28 x 28 x 32
    *((6, 64, 2), *[(6, 64, 1)] * 3, *[(6, 96, 1)] * 3),  # 14 x 14 x 96
    *((6, 160, 2), *[(6, 160, 1)] * 2, (6, 320, 1)),  # 7 x 7 x 320
)


def mobilenet(
    name: str,
    parameters: int,
    reference: str,
    sources: tuple[Source, ...],
    *blocks: Block,
    keep_prob: float,
) -> NetSpec:
    """A net of the family, from images to pooled features by `blocks`."""
    return NetSpec(
        name,
        family="mobilenet",
        parameters=parameters,
        reference=reference,
        defaults=Defaults(HE_NORMAL, "relu6", norm_decay=0.99, norm_epsilon=1e-3),
        blocks=(*blocks, Dropout(keep_prob, name="dropout")),
        sources=sources,
    )


def v1(name: str, parameters: int, width: float = 1.0) -> NetSpec:
    """MobileNet v1 of `width` times the filters."""
    blocks: list[Block] = [Conv(int(32 * width), 3, 2, name="stem")]
    for number, (filters, stride) in enumerate(V1_UNITS, 1):
        # The paper decays these few weights little or not at all.
        depthwise = DepthwiseConv(
            3, stride, regularised=False, name=f"block{number}/depthwise"
        )
        pointwise = Conv(int(filters * width), 1, name=f"block{number}/pointwise")
        blocks += [depthwise, pointwise]
    blocks.append(GlobalPool(name="pool"))
    reference = "Howard et al., arXiv:1704.04861, table 1"
    return mobilenet(name, parameters, reference, V1_SOURCES, *blocks, keep_prob=0.999)


def v2(name: str, parameters: int, width: float = 1.0) -> NetSpec:
    """MobileNet v2 of `width` times the filters; the head never has fewer."""
    channels = scaled(32, width)
    blocks: list[Block] = [Conv(channels, 3, 2, name="stem")]
    for number, (expansion, filters, stride) in enumerate(V2_UNITS):
        inside, channels = expansion * channels, scaled(filters, width)
        block = InvertedResidual(inside, channels, 3, stride, name=f"block{number}")
        blocks.append(block)
    blocks.append(Conv(scaled(1280, max(width, 1.0)), 1, name="head"))
    blocks.append(GlobalPool(name="pool"))
    reference = "Sandler et al., arXiv:1801.04381, table 2"
    return mobilenet(name, parameters, reference, V2_SOURCES, *blocks, keep_prob=0.8)


V1 = v1("mobilenet_v1", 4_231_976)
V1_050 = v1("mobilenet_v1_050", 1_331_592, 0.5)
V1_025 = v1("mobilenet_v1_025", 470_072, 0.25)
V2 = v2("mobilenet_v2", 3_504_872)
V2_050 = v2("mobilenet_v2_050", 1_968_680, 0.5)
V2_035 = v2("mobilenet_v2_035", 1_677_128, 0.35)
V2_140 = v2("mobilenet_v2_140", 6_108_776, 1.4)

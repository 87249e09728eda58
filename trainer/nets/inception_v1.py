"""Inception-v1 (GoogLeNet), without its auxiliary heads."""

from dataclasses import replace

from trainer.nets.blocks import (
    HE_NORMAL,
    BatchNorm,
    Block,
    Conv,
    Defaults,
    Dropout,
    GlobalPool,
    Mixed,
    NetSpec,
    Pool,
)
from trainer.nets.published import INCEPTION, ONES_224, inception_source


def module(
    name: str,
    conv1: int,
    reduce3: int,
    conv3: int,
    reduce5: int,
    conv5: int,
    projection: int,
    kernel5: int = 5,
) -> Mixed:
    """Inception module; the numbers are the columns of the paper's table."""
    return Mixed(
        (
            (Conv(conv1, 1),),
            (Conv(reduce3, 1), Conv(conv3, 3)),
            (Conv(reduce5, 1), Conv(conv5, kernel5)),
            (Pool("max", 3), Conv(projection, 1)),
        ),
        name=name,
    )


def googlenet(
    name: str,
    parameters: int,
    *,
    has_norm: bool = False,
    kernel5: int = 5,
    pool4: int = 3,
    keep_prob: float = 0.6,
) -> NetSpec:
    """The paper's table; `has_norm` puts batch norm behind pools 1, 3 and 5.

    tf-slim has other kernels in the branch of the 5x5 and in pool 4.
    """

    def after(pool: str) -> tuple[Block, ...]:
        return (BatchNorm(name=f"{pool}_norm"),) if has_norm else ()

    return NetSpec(
        name,
        family="inception",
        num_classes=16,
        parameters=parameters,
        reference="Szegedy et al., arXiv:1409.4842, table 1",
        defaults=Defaults(weight_init=HE_NORMAL, norm=False),
        blocks=(
            Conv(64, 7, 2, name="conv1"),  # 112 x 112 x 64
            Pool("max", 3, 2, name="pool1"),  # 56 x 56 x 64
            *after("pool1"),
            Conv(64, 1, name="conv2_reduce"),  # 56 x 56 x 64
            Conv(192, 3, name="conv2"),  # 56 x 56 x 192
            Pool("max", 3, 2, name="pool2"),  # 28 x 28 x 192
            module("3a", 64, 96, 128, 16, 32, 32, kernel5),  # 28 x 28 x 256
            module("3b", 128, 128, 192, 32, 96, 64, kernel5),  # 28 x 28 x 480
            Pool("max", 3, 2, name="pool3"),  # 14 x 14 x 480
            *after("pool3"),
            module("4a", 192, 96, 208, 16, 48, 64, kernel5),  # 14 x 14 x 512
            module("4b", 160, 112, 224, 24, 64, 64, kernel5),  # 14 x 14 x 512
            module("4c", 128, 128, 256, 24, 64, 64, kernel5),  # 14 x 14 x 512
            module("4d", 112, 144, 288, 32, 64, 64, kernel5),  # 14 x 14 x 528
            module("4e", 256, 160, 320, 32, 128, 128, kernel5),  # 14 x 14 x 832
            Pool("max", pool4, 2, name="pool4"),  # 7 x 7 x 832
            module("5a", 256, 160, 320, 32, 128, 128, kernel5),  # 7 x 7 x 832
            module("5b", 384, 192, 384, 48, 128, 128, kernel5),  # 7 x 7 x 1024
            GlobalPool(name="pool5"),  # 1024
            *after("pool5"),
            Dropout(keep_prob, name="dropout"),  # 1024
        ),
    )


GOOGLENET = googlenet("googlenet", parameters=5_989_952)
GOOGLENET_BN = googlenet("googlenet_bn", parameters=5_993_088, has_norm=True)
# Batch norm before each activation, beside what the arguments say.
INCEPTION_V1_SLIM = replace(
    googlenet("inception_v1_slim", 6_618_649, kernel5=3, pool4=2, keep_prob=0.8),
    num_classes=1001,
    defaults=INCEPTION,
    sources=(inception_source("InceptionV1", ONES_224),),
)

"""VGG nets: groups of 3x3 convolutions between halvings."""

from itertools import count, islice

from trainer.nets.alexnet import CLASSIFIER
from trainer.nets.blocks import (
    HE_NORMAL,
    BatchNorm,
    Block,
    Conv,
    Defaults,
    NetSpec,
    Pool,
)
from trainer.nets.published import IMAGENET_224, MEANS_224, Source

FILTERS = (64, 128, 256, 512, 512)
# The convolutions bear other numbers everywhere; their order is the same.
SLIM = Source(
    "slim",
    "tf-slim",
    ((r"^vgg_\d+/", ""), (r"^fc8/", "logits/")),
    MEANS_224,
    ordered=r"conv\d/conv\d_\d",
)
KERAS = Source(
    "keras",
    "keras.applications",
    ((r"^fc1/", "fc6/"), (r"^fc2/", "fc7/"), (r"^predictions/", "logits/")),
    MEANS_224,
    ordered=r"block\d_conv\d",
    reversed_channels=True,
)
TORCHVISION = Source(
    "pytorch",
    "torchvision",
    (
        (r"^classifier/0/", "fc6/"),
        (r"^classifier/3/", "fc7/"),
        (r"^classifier/6/", "logits/"),
    ),
    IMAGENET_224,
    ordered=r"features/\d+",
    flattened_maps=(7, 7, 512),
)


def vgg(
    name: str,
    convolutions: tuple[int, ...],
    parameters: int,
    norm_behind: tuple[int, ...] = (),
    sources: tuple[Source, ...] = (),
) -> NetSpec:
    """Net with so many convolutions in its five groups.

    The last maps of a group have sides of 112, 56, 28, 14 and 7 px at 224 px. `norm_behind`
    counts convolutions from 1 over all groups: those with a batch norm after their
    activation.
    """
    numbers = count(1)
    layers: list[Block] = []
    for place, (filters, size) in enumerate(zip(FILTERS, convolutions, strict=True), 1):
        for number in islice(numbers, size):
            layers.append(Conv(filters, 3, name=f"conv{number}"))
            if number in norm_behind:
                layers.append(BatchNorm(name=f"norm{number}"))
        layers.append(Pool("max", 2, 2, name=f"pool{place}"))
    return NetSpec(
        name,
        family="vgg",
        num_classes=16,
        parameters=parameters,
        reference="Simonyan and Zisserman, arXiv:1409.1556, table 1",
        # Without batch norm, so many layers do not start to learn from smaller weights.
        defaults=Defaults(weight_init=HE_NORMAL, norm=False),
        blocks=(*layers, *CLASSIFIER),
        sources=sources,
    )


SOURCES = (SLIM, KERAS, TORCHVISION)
VGG_13 = vgg("vgg_13", (2, 2, 2, 2, 2), 129_016_400)
VGG_16 = vgg("vgg_16", (2, 2, 3, 3, 3), 134_326_096, sources=SOURCES)
VGG_19 = vgg("vgg_19", (2, 2, 4, 4, 4), 139_635_792, sources=SOURCES)
VGG_13_BN = vgg("vgg_13_bn", (2, 2, 2, 2, 2), 129_017_680, norm_behind=(4, 9))

"""The nets that reach 94 and 95 % on CIFAR-10 in seconds on a GPU."""

from trainer.nets.blocks import (
    DIRAC,
    Activate,
    BatchNorm,
    Block,
    Conv,
    Defaults,
    Flatten,
    Logits,
    NetSpec,
    Pool,
    Scale,
)
from trainer.nets.primitives import WeightInit


def group(number: int, filters: int) -> tuple[Block, ...]:
    """Two 3x3 convolutions, the first with a halving before its batch norm."""
    name = f"group{number}"
    return (
        Conv(filters, 3, norm=False, activation="linear", name=f"{name}/conv1"),
        Pool("max", 2, 2, padding="VALID", name=f"{name}/pool"),
        BatchNorm(name=f"{name}/norm1"),
        Activate(name=f"{name}/gelu1"),
        Conv(filters, 3, name=f"{name}/conv2"),
    )


def net(name: str, first: int, others: int, parameters: int) -> NetSpec:
    """The net with `first` filters in the first group and `others` in the next two.

    The first convolution is meant for whitening filters (`model.whitening`); with them
    2 * 2 * 3 eigenvectors and their negatives make 24 filters.
    """
    return NetSpec(
        name,
        family="airbench",
        image_size_px=32,
        num_classes=10,
        parameters=parameters,
        reference="Jordan, arXiv:2404.00498, section 3; github.com/KellerJordan/cifar10-airbench",
        defaults=Defaults(
            DIRAC,
            activation="gelu",
            bias=False,
            norm_decay=0.6,
            norm_epsilon=1e-12,
            norm_scale=False,
        ),
        head=Logits(has_bias=False, weight_init=WeightInit("fan_in_uniform")),
        blocks=(
            Conv(24, 2, padding="VALID", norm=False, bias=True, name="whitening"),  # 31
            *group(1, first),  # 15 x 15
            *group(2, others),  # 7 x 7
            *group(3, others),  # 3 x 3
            Pool("max", 3, 3, padding="VALID", name="pool"),  # 1 x 1
            Flatten(name="flatten"),
            Scale(1 / 9, name="logits_scale"),
        ),
    )


AIRBENCH_94 = net("airbench94", 64, 256, 1_971_640)
AIRBENCH_95 = net("airbench95", 128, 384, 4_604_728)

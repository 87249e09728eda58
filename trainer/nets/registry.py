"""All nets by name."""

from trainer import lookup
from trainer.nets import inception_v2, resnet
from trainer.nets.blocks import NetSpec

NETS: dict[str, NetSpec] = {
    "inception_v2": inception_v2.INCEPTION_V2,
    "resnet_20": resnet.RESNET_20,
    "resnet_32": resnet.RESNET_32,
    "resnet_34_mnist": resnet.RESNET_34_MNIST,
    "resnet_56": resnet.RESNET_56,
}


def find(name: str) -> NetSpec:
    """The net called `name`.

    Raises:
      ConfigError: there is none; the error names the nearest and lists all.
    """
    return lookup.find_by_name(NETS, name, "net")

"""Facts about the published data sets."""

import dataclasses
import functools

from schema import contract


@dataclasses.dataclass(frozen=True)
class RawFormat:
    """A binary record: label bytes, then planes of pixels, top row first.

    Attributes:
      name: data set, also the name of its packaged contract.
      label_bytes: bytes before the pixels; the last of them is the class.
      height: px. width: px. channels: planes, red first.
      num_classes: number of classes.
      num_train: images of the official training set. num_test: of the official test set.
    """

    name: str
    label_bytes: int
    height: int
    width: int
    channels: int
    num_classes: int
    num_train: int
    num_test: int

    @property
    def title(self) -> str:
        """Name as its authors write it."""
        return self.name.upper().replace("CIFAR", "CIFAR-")

    @property
    def pixel_bytes(self) -> int:
        return self.height * self.width * self.channels

    @property
    def record_bytes(self) -> int:
        return self.label_bytes + self.pixel_bytes


# A. Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009.
CIFAR10 = RawFormat("cifar10", 1, 32, 32, 3, 10, 50_000, 10_000)
# Two label bytes: superclass (coarse), then class (fine).
CIFAR100 = RawFormat("cifar100", 2, 32, 32, 3, 100, 50_000, 10_000)

IDX_IMAGES_MAGIC = 0x00000803  # unsigned bytes, three dimensions
IDX_LABELS_MAGIC = 0x00000801  # unsigned bytes, one dimension


@functools.cache
def class_names(facts: RawFormat) -> tuple[str, ...]:
    """The official class names, for archives that come without their list."""
    return contract.load(contract.find(facts.name)).labels

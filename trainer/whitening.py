"""Filters for the first convolution that whiten the patches of the images.

No TensorFlow here: settings are checked before it is loaded.
"""

import dataclasses
from collections.abc import Iterable

import numpy as np

from common.errors import ConfigError
from trainer.config import TrainerConfig
from trainer.nets import variants
from trainer.nets.blocks import Conv, named
from trainer.nets.primitives import Window

# Enough for the covariance of patches; the recipe of the reference takes as many.
IMAGES = 5_000
# Added to the eigenvalues, in the units of the preprocessed px squared.
_EPSILON = 5e-4


@dataclasses.dataclass(frozen=True)
class Layer:
    """The convolution that gets the filters.

    Attributes:
      weights: name of its variable.
      sides: height and width of the kernel in px.
      count: filters.
    """

    weights: str
    sides: tuple[int, int]
    count: int


def layer_of(config: TrainerConfig) -> Layer | None:
    """The convolution that `model.whitening` initialises; None where it is off.

    Raises:
      ConfigError: the net does not begin with a convolution, or it has more filters than
        whitening gives: two for each number in a patch.
    """
    if not config.model.whitening:
        return None
    spec = variants.spec_of(config.model)
    name, first = named(spec.blocks)[0]
    if not isinstance(first, Conv):
        raise ConfigError(
            "setting 'model.whitening' needs a net that begins with a convolution",
            found=f"{config.model.net}: {first.describe()}",
            tip="--set model.whitening=false",
        )
    sides = Window(first.kernel).sides
    most = 2 * sides[0] * sides[1] * config.preprocessing.channels
    if first.filters > most:
        raise ConfigError(
            "setting 'model.whitening' needs a first convolution with fewer filters",
            found=f"{first.filters} filters of {sides[0]} x {sides[1]} px",
            expected=f"at most {most}: each direction in a patch, and its negative",
            tip="--set model.whitening=false",
        )
    return Layer(f"{spec.name}/{name}/weights", sides, first.filters)


def filters(batches: Iterable[np.ndarray], layer: Layer) -> np.ndarray:
    """The eigenvectors of the patches of images, largest first, then their negatives.

    Each is divided by the square root of its eigenvalue, so that all responses have about
    the same size.

    Args:
      batches: float32 [batch, height, width, channels], preprocessed; the first `IMAGES`
        images are used.
      layer: to initialise.

    Returns:
      float32 [kernel height, kernel width, channels, filters].

    Reference: Jordan, arXiv:2404.00498, section 3.2.
    """
    # Sums of products, so that memory holds the patches of one batch at a time.
    products: np.ndarray | float = 0.0
    patches_seen, images_left = 0, IMAGES
    for images in batches:
        images = images[:images_left]
        patches = _patches(images, *layer.sides)
        products = products + patches.T.astype(np.float64) @ patches
        patches_seen += len(patches)
        images_left -= len(images)
        if not images_left:
            break
    values, vectors = np.linalg.eigh(np.asarray(products) / patches_seen)
    wanted = -(-layer.count // 2)
    largest = np.argsort(values)[::-1][:wanted]
    white = vectors[:, largest] / np.sqrt(values[largest] + _EPSILON)
    both = np.concatenate([white, -white], axis=1)[:, : layer.count]
    channels = len(both) // (layer.sides[0] * layer.sides[1])
    return both.reshape(*layer.sides, channels, layer.count).astype(np.float32)


def _patches(images: np.ndarray, height_px: int, width_px: int) -> np.ndarray:
    """All windows of so many px, [patches, height * width * channels]."""
    windows = np.lib.stride_tricks.sliding_window_view(
        images,
        (height_px, width_px),
        axis=(1, 2),  # type: ignore[call-overload]
    )
    size = height_px * width_px * images.shape[3]
    return windows.transpose(0, 1, 2, 4, 5, 3).reshape(-1, size)

"""The look of an image, coarse enough to outlast that it is saved again.

A perceptual hash of 25 bits: the signs, against their median, of the lowest frequencies of
the gray image. Reference: C. Zauner, Implementation and Benchmarking of Perceptual Image
Hash Functions, 2010, as the library imagehash computes it.
"""

import io

import numpy as np
from PIL import Image

from schema import orientation
from schema.errors import ConfigError

# More bits tell more pictures apart, and fewer copies stay together (docs/data.md).
HASH_SIZE = 5
# Of smaller images, and flat ones, different pictures share a hash too often.
MIN_SIDE_PX = 64
MIN_DEVIATION = 4.0  # gray levels
# No name in a table or a path begins like that.
_PREFIX = "\0looks:"


def check_installed() -> None:
    """Raises ConfigError where the hash cannot be computed."""
    try:
        import imagehash  # noqa: F401
    except ImportError as error:
        raise ConfigError(
            "data.group_by=looks takes the library imagehash",
            found="it is not installed",
            tip="the extra 'data' brings it: uv pip install --editable '.[data]'",
        ) from error


def is_look(group: str) -> bool:
    """Whether a group is of images that look alike."""
    return group.startswith(_PREFIX)


def group_of(encoded: bytes) -> str:
    """Group of an image by its look; '' for small and flat ones, which go by themselves.

    Args:
      encoded: JPEG or PNG that can be read; an Exif orientation is heeded.
    """
    import imagehash

    with Image.open(io.BytesIO(encoded)) as image:
        if min(image.size) < MIN_SIDE_PX:
            return ""
        gray = np.asarray(image.convert("L"))
    if gray.std() < MIN_DEVIATION:
        return ""
    upright = Image.fromarray(orientation.turn(gray, orientation.read(encoded)))
    return f"{_PREFIX}{imagehash.phash(upright, HASH_SIZE)}"

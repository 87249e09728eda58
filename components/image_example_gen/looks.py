"""Perceptual hash of an image: it stays the same when the image is saved again.

A perceptual hash of 25 bits: which of the lowest frequencies of the gray image lie above
their median. Reference: phash of the library imagehash, with `hash_size=5`.
"""

import io

import numpy as np
from PIL import Image

from schema import orientation

# More tell more pictures apart, and fewer copies stay together (docs/data.md).
FREQUENCIES = 5
# Pixels a frequency to which the image is resized first.
OVERSAMPLING = 4
# Of smaller images, and flat ones, different pictures share a hash too often.
MIN_SIDE_PX = 64
MIN_DEVIATION = 4.0  # gray levels

# No name in a table or a path begins like that.
_PREFIX = "\0looks:"


def is_look(group: str) -> bool:
    """Whether a group is of images that look alike."""
    return group.startswith(_PREFIX)


def group_of(encoded: bytes) -> str:
    """Group of an image by its look; '' for small and flat ones, which go by themselves.

    Args:
      encoded: JPEG or PNG that can be read; its Exif orientation is applied.
    """
    with Image.open(io.BytesIO(encoded)) as image:
        if min(image.size) < MIN_SIDE_PX:
            return ""
        gray = np.asarray(image.convert("L"))
    if gray.std() < MIN_DEVIATION:
        return ""
    from scipy import fft  # a look at settings and names does without it

    upright = Image.fromarray(orientation.turn(gray, orientation.read(encoded)))
    side = FREQUENCIES * OVERSAMPLING
    small = upright.resize((side, side), Image.Resampling.LANCZOS)
    waves = fft.dctn(np.asarray(small, np.float64))[:FREQUENCIES, :FREQUENCIES]
    bits = "".join("01"[bit] for bit in (waves > np.median(waves)).ravel().tolist())
    return f"{_PREFIX}{int(bits, 2):07x}"

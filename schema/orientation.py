"""How a camera was held: the Exif orientation of an image, and the turn that it asks for.

`read` is the rule for all bytes; `trainer.upright` holds the same rule as operations of the
served graph, and a test holds the two against each other. Only the tag of the main image
(IFD0) counts, never that of its thumbnail. Whatever is broken or missing means upright.

Reference: Exif 3.0 (CIPA DC-008), 4.6.5 and 4.7.2; PNG specification, third edition, eXIf.
"""

from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from schema import image_header

UPRIGHT = 1
# What model cards say of models; those pushed by earlier releases have no rule of their own.
RULE = "turned upright by its Exif orientation"
RULE_BEFORE = "seen as stored, Exif orientation ignored"
# Segments before the Exif data, and entries of its directory, that are read at most.
MAX_SEGMENTS = 64
MAX_ENTRIES = 128
EXIF_HEADER = b"Exif\0\0"
PNG_EXIF, PNG_PIXELS = b"eXIf", b"IDAT"
LITTLE_ENDIAN, BIG_ENDIAN = b"II*\0", b"MM\0*"
ENTRY_BYTES = 12
TAG, SHORT = 0x0112, 3


class Turn(NamedTuple):
    """What makes stored pixels upright: flips of the stored axes, then a transposition."""

    flips_rows: bool
    flips_columns: bool
    is_transposed: bool


# By orientation, 1 to 8.
TURNS = (
    Turn(False, False, False),
    Turn(False, True, False),
    Turn(True, True, False),
    Turn(True, False, False),
    Turn(False, False, True),
    Turn(True, False, True),
    Turn(True, True, True),
    Turn(False, True, True),
)


def read(data: bytes) -> int:
    """Orientation of an encoded image, 1 to 8; 1 for other kinds than JPEG and PNG."""
    kind = image_header.kind_of(data)
    if kind == image_header.JPEG:
        return of_exif(_exif_of_jpeg(data))
    return of_exif(_exif_of_png(data)) if kind == image_header.PNG else UPRIGHT


def of_exif(block: bytes) -> int:
    """Orientation in Exif data, 1 to 8.

    Args:
      block: from the byte order on, without `EXIF_HEADER`.
    """
    order: Any = {LITTLE_ENDIAN: "little", BIG_ENDIAN: "big"}.get(block[:4])
    if order is None:
        return UPRIGHT

    def number(place: int, count: int) -> int:
        return int.from_bytes(block[place : place + count], order)

    directory = number(4, 4)
    place = directory + 2
    entries = min(number(directory, 2), MAX_ENTRIES)
    end = min(len(block), place + ENTRY_BYTES * entries)
    while place + ENTRY_BYTES <= end:
        if number(place, 2) == TAG:
            value = number(place + 8, 2)
            is_whole = (number(place + 2, 2), number(place + 4, 4)) == (SHORT, 1)
            return value if is_whole and 1 <= value <= len(TURNS) else UPRIGHT
        place += ENTRY_BYTES
    return UPRIGHT


def of_opened(image: Image.Image) -> int:
    """Orientation of an image that Pillow has opened, 1 to 8.

    Of a TIFF, which Pillow turns itself, there is nothing left to do.
    """
    block = image.info.get("exif")
    if not isinstance(block, bytes):
        return UPRIGHT
    return of_exif(block.removeprefix(EXIF_HEADER))


def upright_size(width: int, height: int, orientation: int) -> tuple[int, int]:
    """Width and height of the upright image."""
    is_transposed = TURNS[orientation - 1].is_transposed
    return (height, width) if is_transposed else (width, height)


def turn(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Upright view of stored pixels [height, width, ...]."""
    flips_rows, flips_columns, is_transposed = TURNS[orientation - 1]
    pixels = pixels[:: -1 if flips_rows else 1, :: -1 if flips_columns else 1]
    return pixels.swapaxes(0, 1) if is_transposed else pixels


def _exif_of_jpeg(data: bytes) -> bytes:
    """Exif data among the application segments and comments that a JPEG begins with."""
    place = 2
    for _ in range(MAX_SEGMENTS):
        head = data[place : place + 4]
        if len(head) < 4 or head[0] != 0xFF or not _is_skipped(head[1]):
            break
        end = place + 2 + int.from_bytes(head[2:], "big")
        if head[1] == 0xE1 and data.startswith(EXIF_HEADER, place + 4):
            return data[place + 4 + len(EXIF_HEADER) : end]
        place = end
    return b""


def _is_skipped(marker: int) -> bool:
    return 0xE0 <= marker <= 0xEF or marker == 0xFE


def _exif_of_png(data: bytes) -> bytes:
    """Exif data among the chunks before the pixels of a PNG."""
    place = len(image_header.PNG_SIGNATURE)
    for _ in range(MAX_SEGMENTS):
        name = data[place + 4 : place + 8]
        end = place + 8 + int.from_bytes(data[place : place + 4], "big")
        if name == PNG_EXIF:
            return data[place + 8 : end]
        if len(name) < 4 or name == PNG_PIXELS:
            break
        place = end + 4
    return b""

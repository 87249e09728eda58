"""Kind and size of an encoded image, from its header alone.

Headers are read as TensorFlow's decoders read them, so that an image that is too large is
refused before anything is unpacked. All else, as checksums and optional chunks, is left to
the decoder.
"""

import struct
from typing import NamedTuple

JPEG, PNG, GIF, BMP = "JPEG", "PNG", "GIF", "BMP"
JPEG_SIGNATURE = b"\xff\xd8\xff"
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
# The first bytes by which TensorFlow's `decode_image` chooses a decoder.
_KINDS = (
    (JPEG_SIGNATURE, JPEG),
    (PNG_SIGNATURE, PNG),
    (b"GIF8", GIF),
    (b"BM", BMP),
)
_PNG_IHDR = (13, b"IHDR")
_PNG_GRAY = (0, 4)  # colour types: gray, gray with alpha
_JPEG_MARK = 0xFF
# Frames: baseline, extended and progressive, with Huffman or arithmetic coding.
_JPEG_FRAMES = frozenset({0xC0, 0xC1, 0xC2, 0xC9, 0xCA})
# A stuffed zero is no marker; TEM and the restart markers have no length.
_JPEG_BARE = frozenset({0x00, 0x01, *range(0xD0, 0xD8)})
_GIF_HEADER_BYTES = 13
_GIF_IMAGE, _GIF_EXTENSION = 0x2C, 0x21


class Header(NamedTuple):
    """What a decoder would unpack.

    Attributes:
      width: px. height: px.
      channels: 1 for gray, 3 for colour, alpha not counted.
    """

    width: int
    height: int
    channels: int


def kind_of(data: bytes) -> str:
    """JPEG, PNG, GIF or BMP by the first bytes; '' for anything else."""
    return next((kind for magic, kind in _KINDS if data.startswith(magic)), "")


def read(data: bytes) -> Header | None:
    """Header of JPEG or PNG bytes; None where no decoder would find one."""
    try:
        return _read_png(data) if kind_of(data) == PNG else _read_jpeg(data)
    except (struct.error, IndexError):
        return None


def gif_pixels(data: bytes) -> int:
    """Pixels of all frames of a GIF together, as far as its blocks can be followed."""
    pixels, place = 0, _GIF_HEADER_BYTES
    try:
        place += _colours_bytes(data[10])
        while data[place] in (_GIF_IMAGE, _GIF_EXTENSION):
            if data[place] == _GIF_IMAGE:
                width, height, flags = struct.unpack_from("<HHB", data, place + 5)
                pixels += width * height
                place += 11 + _colours_bytes(flags)
            else:
                place += 2
            while length := data[place]:
                place += 1 + length
            place += 1
    except (struct.error, IndexError):
        pass
    return pixels


def is_true_colour_bmp(data: bytes) -> bool:
    """Whether a BMP has 24 or 32 bits a pixel.

    Of others TensorFlow either refuses the number of bits or takes places in the palette for
    gray values.
    """
    return int.from_bytes(data[28:30], "little") in (24, 32)


def _read_png(data: bytes) -> Header | None:
    length, name, width, height, _, colour_type = struct.unpack_from(
        ">I4sIIBB", data, len(PNG_SIGNATURE)
    )
    if (length, name) != _PNG_IHDR:
        return None
    return Header(width, height, 1 if colour_type in _PNG_GRAY else 3)


def _read_jpeg(data: bytes) -> Header | None:
    """Looks for the frame as libjpeg does: it skips what lies between two segments."""
    place = 2
    while (place := data.find(_JPEG_MARK, place)) >= 0:
        while data[place] == _JPEG_MARK:
            place += 1
        marker = data[place]
        place += 1
        if marker in _JPEG_FRAMES:
            height, width, components = struct.unpack_from(">HHB", data, place + 3)
            return Header(width, height, 1 if components == 1 else 3)
        if marker not in _JPEG_BARE:
            # Lengths too small for themselves are let pass, as libjpeg does.
            place += max(2, *struct.unpack_from(">H", data, place))
    return None


def _colours_bytes(flags: int) -> int:
    """Bytes of a colour table that the flags of a GIF announce."""
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0

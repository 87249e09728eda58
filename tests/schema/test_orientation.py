"""Orientation by Exif data: the tag is found where it belongs, and nothing else is."""

import io
import struct

import numpy as np
import pytest
from PIL import Image, ImageOps

from schema import images, orientation

ORIENTATIONS = range(1, 9)
TAG = 0x0112


def tiff(value: int, order: str = "<", *, tag: int = TAG, kind: int = 3) -> bytes:
    """Exif data: a directory with some other tag before, and a thumbnail's behind."""
    mark = b"II*\0" if order == "<" else b"MM\0*"
    entries = [
        (0x010F, 2, 4, b"abc\0"),
        (tag, kind, 1, struct.pack(order + "HH", value, 0)),
    ]
    first = struct.pack(order + "H", len(entries)) + b"".join(
        struct.pack(order + "HHI", *entry[:3]) + entry[3] for entry in entries
    )
    next_directory = 8 + len(first) + 4
    thumbnail = struct.pack(order + "HHHI", 1, TAG, 3, 1)
    thumbnail += struct.pack(order + "HHI", 8, 0, 0)
    return mark + struct.pack(order + "I", 8) + first + struct.pack(
        order + "I", next_directory
    ) + thumbnail  # fmt: skip


def segment(marker: int, content: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(content) + 2) + content


def picture(height: int = 23, width: int = 37) -> np.ndarray:
    random = np.random.default_rng(5)
    return random.integers(0, 256, [height, width, 3]).astype(np.uint8)


def jpeg(*segments: bytes, pixels: np.ndarray | None = None) -> bytes:
    file = io.BytesIO()
    pixels = picture() if pixels is None else pixels
    Image.fromarray(pixels).save(file, "JPEG", quality=95)
    data = file.getvalue()
    return data[:2] + b"".join(segments) + data[2:]


def exif(block: bytes) -> bytes:
    return segment(0xE1, b"Exif\0\0" + block)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("value", ORIENTATIONS)
def test_reads_both_byte_orders(value, order):
    assert orientation.read(jpeg(exif(tiff(value, order)))) == value


@pytest.mark.parametrize("value", ORIENTATIONS)
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_agrees_with_pillow(value, kind):
    tags = Image.Exif()
    tags[TAG] = value
    file = io.BytesIO()
    Image.fromarray(picture()).save(file, kind, exif=tags)
    data = file.getvalue()
    assert orientation.read(data) == value
    with Image.open(file) as image:
        stored = np.asarray(image)
        expected = np.asarray(ImageOps.exif_transpose(image))
    np.testing.assert_array_equal(orientation.turn(stored, value), expected)
    height, width = expected.shape[:2]
    header = images.read_header(data)
    assert (header.height, header.width) == (height, width)
    verdict = images.check_image(data)
    assert (verdict.height, verdict.width) == (height, width)
    assert verdict.encoded is data


@pytest.mark.parametrize("kind", ["WEBP", "TIFF", "AVIF"])
@pytest.mark.parametrize("value", ORIENTATIONS)
def test_what_becomes_png_is_turned(value, kind):
    if kind == "AVIF" and ".avif" not in Image.registered_extensions():
        pytest.skip("this Pillow has no AVIF")
    tags = Image.Exif()
    tags[TAG] = value
    file = io.BytesIO()
    options = {"quality": 100} if kind == "AVIF" else {"lossless": True}
    options = {} if kind == "TIFF" else options
    Image.fromarray(picture()).save(file, kind, exif=tags, **options)
    verdict = images.check_image(file.getvalue())
    assert (verdict.reason, verdict.format) == ("", "png")
    with Image.open(file) as image:
        expected = np.asarray(ImageOps.exif_transpose(image))
    assert (verdict.height, verdict.width) == expected.shape[:2]
    with Image.open(io.BytesIO(verdict.encoded)) as image:
        np.testing.assert_array_equal(np.asarray(image), expected)
    assert orientation.read(verdict.encoded) == 1


@pytest.mark.parametrize(
    ("segments", "expected"),
    [
        ((), 1),
        ((segment(0xE0, b"JFIF\0" + bytes(9)), exif(tiff(6))), 6),
        ((segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0"), exif(tiff(5))), 5),
        ((segment(0xE2, bytes(60_000)),) * 3 + (exif(tiff(3)),), 3),
        ((segment(0xFE, b"a comment"), exif(tiff(8))), 8),
        ((exif(tiff(6)), exif(tiff(3))), 6),  # the first counts
        ((exif(b""), exif(tiff(3))), 1),
        ((segment(0xE1, b"Exif\0\1" + tiff(6)),), 1),
        ((segment(0xE1, b"Exif"),), 1),
        ((segment(0xE3, b"Exif\0\0" + tiff(6)),), 1),
        ((exif(tiff(0)),), 1),
        ((exif(tiff(9)),), 1),
        ((exif(tiff(6, kind=4)),), 1),  # not a SHORT
        ((exif(tiff(6, tag=0x0113)),), 1),  # only the thumbnail has one
        ((exif(tiff(6)[:28]),), 1),  # ends within the entry
        ((exif(b"IM*\0" + tiff(6)[4:]),), 1),
        ((exif(tiff(6)[:4] + b"\xff\xff\xff\xff" + tiff(6)[8:]),), 1),
        ((segment(0xFE, b""),) * 70 + (exif(tiff(6)),), 1),  # beyond what is looked at
    ],
)  # fmt: skip
def test_looks_where_the_tag_belongs(segments, expected):
    assert orientation.read(jpeg(*segments)) == expected


@pytest.mark.parametrize(
    "data", [b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF89a"]
)
def test_what_ends_early_is_upright(data):
    assert orientation.read(data) == 1

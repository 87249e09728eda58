"""One verdict on encoded images, and PNG encoding of raw pixels.

Pillow reads the header, so that size and kind are known before anything is unpacked;
TensorFlow's decoder has the last word, because it is the one that training and serving
use.
"""

import dataclasses
import io
import struct
import warnings
import zlib
from collections.abc import Iterator

import numpy as np
from PIL import Image

MAX_FILE_BYTES = 64 << 20
MAX_PIXELS = 50_000_000
MAX_SIDE_PX = 16_384

# What Pillow may try to open. Its JPEG reader also gives MPO, a JPEG with a second picture
# behind it, as phones write it; TensorFlow reads the first.
ACCEPTED = ("JPEG", "PNG", "BMP", "GIF", "WEBP")
# What a served model takes.
SERVED = ("JPEG", "PNG")
KEPT = {"JPEG": "jpeg", "MPO": "jpeg", "PNG": "png"}
KEPT_FORMATS = ("jpeg", "png")

# Names for what people most often try instead.
_OTHER_KINDS = (
    (b"II*\x00", "TIFF"),
    (b"MM\x00*", "TIFF"),
    (b"8BPS", "Photoshop"),
    (b"%PDF", "PDF"),
    (b"<svg", "SVG"),
    (b"<?xml", "XML"),
    (b"<!DOCTYPE", "HTML"),
    (b"<html", "HTML"),
)
_GRAY_MODES = ("1", "L", "LA", "La", "I", "I;16", "I;16B", "I;16L", "F")
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PNG_COLOUR_TYPES = {1: 0, 3: 2}
_PNG_FILTER_SUB = 1
# Small images gain little from more effort, and training reads them once a run.
_PNG_EFFORT = 1


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What an encoded image is.

    Attributes:
      reason: why it is refused; '' for an image that every part of the house can read.
      encoded: JPEG or PNG bytes: the ones given, or a PNG made from another format.
      format: 'jpeg' or 'png'.
      height: px. width: px. channels: 1 for gray, 3 for colour, alpha not counted.
    """

    reason: str = ""
    encoded: bytes = b""
    format: str = ""
    height: int = 0
    width: int = 0
    channels: int = 0


def check_image(data: bytes) -> Verdict:
    """Verdict on an encoded image: JPEG, PNG, BMP, GIF (first frame) or WebP.

    Never raises on bad bytes and never allocates for an image beyond the limits
    (`MAX_FILE_BYTES`, `MAX_PIXELS`, `MAX_SIDE_PX`). Images that end early are refused,
    not completed with gray.
    """
    return _check(data, is_decoded=True)


def check_header(data: bytes) -> Verdict:
    """As `check_image`, but nobody looks at the pixels of JPEG and PNG: damage goes unseen.

    For a client, which leaves them to the server: it needs no TensorFlow.
    """
    return _check(data, is_decoded=False)


def _check(data: bytes, *, is_decoded: bool) -> Verdict:
    if not data:
        return Verdict("the file is empty")
    if len(data) > MAX_FILE_BYTES:
        return Verdict(f"{len(data):,} bytes, at most {MAX_FILE_BYTES:,} are read")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore"
            )  # Pillow warns of sizes refused below anyway
            with Image.open(io.BytesIO(data), formats=ACCEPTED) as image:
                return _check_open_image(image, data, is_decoded)
    except Image.DecompressionBombError:
        return Verdict(f"more than {MAX_PIXELS:,} pixels")
    except Image.UnidentifiedImageError:
        return Verdict(_describe_unknown(data))
    # Pillow's parsers raise whatever a damaged header leads them to.
    except Exception as error:
        return Verdict(f"damaged image: {type(error).__name__} {error}"[:200])


@dataclasses.dataclass(frozen=True)
class Header:
    """What the header of JPEG or PNG bytes says.

    Attributes:
      reason: why the image is refused before it is decoded, or ''. It repeats nothing of
        the bytes.
      pixels: in all; 0 where it is refused.
    """

    reason: str = ""
    pixels: int = 0


def read_header(data: bytes, max_pixels: int = MAX_PIXELS) -> Header:
    """Header of an image as a served model takes it; never raises on bad bytes.

    Of an image that passes, `check_image` could only say that its data are damaged.

    Args:
      data: encoded image, whole.
      max_pixels: most pixels in all.
    """
    try:
        # Not within catch_warnings, which changes the whole process: servers call this in
        # threads. Pillow warns of sizes that are refused here.
        with Image.open(io.BytesIO(data), formats=SERVED) as image:
            reason = check_size(*image.size, max_pixels)
            return Header(reason, 0 if reason else image.width * image.height)
    except Image.DecompressionBombError:
        return Header(f"more than {max_pixels:,} pixels")
    except Image.UnidentifiedImageError:
        return Header("neither JPEG nor PNG")
    # Pillow's parsers raise whatever a damaged header leads them to.
    except Exception:
        return Header("damaged image")


def _check_open_image(image: Image.Image, data: bytes, is_decoded: bool) -> Verdict:
    if reason := check_size(*image.size):
        return Verdict(reason)
    channels = channels_of(image)
    kind = image.format or ""
    if kind in KEPT:
        encoded, kept = data, KEPT[kind]
    else:
        encoded, kept = to_png(image), "png"
    if not is_decoded:
        return Verdict("", encoded, kept, image.height, image.width, channels)
    import tensorflow as tf

    try:
        # The same operation as in the Transform graph, so that both agree.
        with tf.device("/cpu:0"):
            shape = tf.io.decode_image(
                encoded, channels=channels, expand_animations=False
            ).shape
    except tf.errors.OpError:
        return Verdict(f"{kind} data are damaged or end early")
    return Verdict("", encoded, kept, int(shape[0]), int(shape[1]), channels)


def check_size(width: int, height: int, max_pixels: int | None = None) -> str:
    """Why an image of that size in px is refused, or ''; None for `MAX_PIXELS`."""
    max_pixels = MAX_PIXELS if max_pixels is None else max_pixels
    if width < 1 or height < 1:
        return f"an image of {width}x{height} px"
    if max(width, height) > MAX_SIDE_PX:
        return f"{width}x{height} px, at most {MAX_SIDE_PX:,} a side are read"
    if width * height > max_pixels:
        return f"{width}x{height} px, at most {max_pixels:,} in all are read"
    return ""


def channels_of(image: Image.Image) -> int:
    """1 for gray, 3 for colour; alpha is not counted."""
    return 1 if image.mode in _GRAY_MODES else 3


def to_png(image: Image.Image) -> bytes:
    """PNG of the first frame; alpha is dropped, as TensorFlow drops it."""
    image.seek(0)
    channels = channels_of(image)
    pixels = np.asarray(image.convert("L" if channels == 1 else "RGB"), np.uint8)
    height, width = pixels.shape[:2]
    return next(encode_pngs(pixels.reshape(1, height, width, channels)))


def _describe_unknown(data: bytes) -> str:
    for magic, kind in _OTHER_KINDS:
        if data.lstrip()[: len(magic)].lower() == magic.lower():
            return f"{kind} is not accepted (JPEG, PNG, BMP, GIF and WebP are)"
    return f"not an image: it starts with {data[:8]!r}"


def encode_pngs(pixels: np.ndarray) -> Iterator[bytes]:
    """PNG of each image in a batch; lossless, the same bytes for the same pixels.

    Args:
      pixels: uint8 [n, height, width, channels], channels 1 or 3.

    Reference: PNG specification, third edition; filter type 1 (Sub) on every row.
    """
    count, height, width, channels = pixels.shape
    rows = np.empty((count, height, 1 + width * channels), np.uint8)
    rows[:, :, 0] = _PNG_FILTER_SUB
    body = rows[:, :, 1:].reshape(count, height, width, channels)
    body[:, :, :1] = pixels[:, :, :1]
    np.subtract(pixels[:, :, 1:], pixels[:, :, :-1], out=body[:, :, 1:])
    rows[:, :, 1:] = body.reshape(count, height, width * channels)
    header = struct.pack(
        ">IIBBBBB", width, height, 8, _PNG_COLOUR_TYPES[channels], 0, 0, 0
    )
    start = _PNG_SIGNATURE + _chunk(b"IHDR", header)
    end = _chunk(b"IEND", b"")
    for image in rows:
        yield start + _chunk(b"IDAT", zlib.compress(image.tobytes(), _PNG_EFFORT)) + end


def _chunk(kind: bytes, content: bytes) -> bytes:
    checksum = zlib.crc32(content, zlib.crc32(kind))
    return (
        struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)
    )

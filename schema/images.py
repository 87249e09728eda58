"""One verdict on encoded images, and PNG encoding of raw pixels.

TensorFlow's decoder has the last word on every kind it reads, because it is the one that
training and serving use; the header is read before, so that size and kind are known before
anything is unpacked. Other kinds become PNG, with Pillow.
"""

import contextlib
import dataclasses
import functools
import io
import struct
import warnings
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from PIL import Image

from schema import image_header, orientation

MAX_FILE_BYTES = 64 << 20
MAX_PIXELS = 50_000_000
MAX_SIDE_PX = 16_384
# Brought to a square, a narrower image would be stretched beyond recognition or be cropped to
# almost nothing. The served graph refuses what lies beyond with the same words.
MAX_ASPECT_RATIO = 100
TOO_NARROW = f"one side is more than {MAX_ASPECT_RATIO} times the other"
# GIFs of more pixels in all their frames are read by Pillow, which unpacks the first only.
_MAX_GIF_PIXELS = 8 * MAX_PIXELS

# What a served model takes, and the formats of Examples.
KEPT = {image_header.JPEG: "jpeg", image_header.PNG: "png"}
KEPT_FORMATS = tuple(KEPT.values())
# What becomes PNG.
_TRANSCODED = ("BMP", "GIF", "WEBP", "TIFF", "AVIF", "HEIF", "PPM")
_READ = "JPEG, PNG, BMP, GIF, WebP, TIFF, AVIF and PPM are"

# Names for what people most often try instead, by the bytes at a place.
_OTHER_KINDS = (
    (0, b"8BPS", "Photoshop"),
    (0, b"%PDF", "PDF"),
    (0, b"<svg", "SVG"),
    (0, b"<?xml", "XML"),
    (0, b"<!DOCTYPE", "HTML"),
    (0, b"<html", "HTML"),
    (4, b"jP  ", "JPEG 2000"),
    (128, b"DICM", "DICOM"),
)
_TIFF = (b"II*\x00", b"MM\x00*")
_HEIC = tuple(b"ftyp" + brand for brand in (b"hei", b"hev", b"mif1", b"msf1"))
_AVIF = b"ftypavi"
_HOW_TO_CONVERT = "convert it to JPEG or PNG: magick mogrify -format png FILE"
_GRAY_MODES = ("1", "L", "LA", "La", "I", "I;16", "I;16B", "I;16L", "F")
# Gray values beyond 8 bits: only the owner knows which of them is white.
_DEEP_MODES = ("I", "I;16", "I;16B", "I;16L", "F")
_PNG_COLOUR_TYPES = {1: 0, 3: 2}
_PNG_FILTER_SUB = 1
# Small images gain little from more effort, and training reads them once a run.
_PNG_EFFORT = 1


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What an encoded image is.

    Attributes:
      reason: why it is refused; '' for an image that training and serving can read.
      encoded: JPEG or PNG bytes: the ones given, or a PNG made from another format.
      format: 'jpeg' or 'png'; this and all below is '' or 0 where the image is refused.
      height: px, of the upright image. width: px, of it too.
      channels: 1 for gray, 3 for colour, alpha not counted.
    """

    reason: str = ""
    encoded: bytes = b""
    format: str = ""
    height: int = 0
    width: int = 0
    channels: int = 0


def check_image(data: bytes) -> Verdict:
    """Verdict on an encoded image.

    JPEG and PNG are readable where TensorFlow's decoder reads them; so are GIF (first
    frame) and BMP in true colour, which become PNG. Other BMP, WebP, TIFF of one page and 8
    bits, AVIF, PPM and its like, and HEIC where `pillow-heif` is installed, become PNG with Pillow.

    Never raises on bad bytes and never allocates for an image beyond the limits
    (`MAX_FILE_BYTES`, `MAX_PIXELS`, `MAX_SIDE_PX`, `MAX_ASPECT_RATIO`). Images that end early are refused,
    not completed with gray.
    """
    return _check(data, is_decoded=True)


def check_header(data: bytes) -> Verdict:
    """As `check_image`, but JPEG and PNG are not decoded, so damage in them is not found.

    For a client, which leaves them to the server: it needs no TensorFlow.
    """
    return _check(data, is_decoded=False)


def _check(data: bytes, *, is_decoded: bool) -> Verdict:
    if not data:
        return Verdict("the file is empty")
    if len(data) > MAX_FILE_BYTES:
        return Verdict(f"{len(data):,} bytes, at most {MAX_FILE_BYTES:,} are read")
    kind = image_header.kind_of(data)
    if kind in KEPT:
        header = read_header(data)
        if header.reason:
            return Verdict(header.reason)
        if is_decoded and _decode(data, header.channels) is None:
            return Verdict(_damaged(kind))
        return dataclasses.replace(header, encoded=data)
    pixels = None
    if is_decoded and _is_read_by_tensorflow(kind, data):
        pixels = _decode(data, 3)
        if pixels is None:
            return Verdict(f"damaged image: {kind} data are broken or end early")
    return _transcode(data, pixels)


def read_header(data: bytes, max_pixels: int | None = None) -> Verdict:
    """Verdict on JPEG or PNG bytes by their header alone, without `encoded`.

    Never raises on bad bytes. Of an image that passes, `check_image` could only say that its
    data are damaged. The reason repeats nothing of the bytes.

    Args:
      data: encoded image, whole.
      max_pixels: most pixels in all; None for `MAX_PIXELS`.
    """
    kind = image_header.kind_of(data)
    if kind not in KEPT:
        return Verdict("neither JPEG nor PNG")
    found = image_header.read(data)
    if found is None:
        return Verdict(_damaged(kind))
    if reason := check_size(found.width, found.height, max_pixels):
        return Verdict(reason)
    width, height = orientation.upright_size(
        found.width, found.height, orientation.read(data)
    )
    return Verdict("", b"", KEPT[kind], height, width, found.channels)


def _damaged(kind: str) -> str:
    return f"{kind} data are damaged or end early"


def _is_read_by_tensorflow(kind: str, data: bytes) -> bool:
    """Whether TensorFlow decides about a file that is not kept as it is."""
    if kind == image_header.GIF:
        return image_header.gif_pixels(data) <= _MAX_GIF_PIXELS
    return kind == image_header.BMP and image_header.is_true_colour_bmp(data)


def _decode(data: bytes, channels: int) -> Any:
    """The image as a tensor, uint8 [height, width, channels]; None where it is damaged."""
    import tensorflow as tf

    try:
        # The same operation as in the Transform graph, so that both agree.
        with tf.device("/cpu:0"):
            return tf.io.decode_image(data, channels=channels, expand_animations=False)
    except tf.errors.OpError:
        return None


def _transcode(data: bytes, pixels: Any) -> Verdict:
    """PNG of what Pillow reads; else of `pixels`, where they are given."""
    try:
        with warnings.catch_warnings():
            # Pillow warns of sizes refused below anyway.
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(data), formats=_pillow_formats()) as image:
                reason = check_size(*image.size) or _check_kind(image)
                if not reason:
                    size = orientation.upright_size(
                        *image.size, orientation.of_opened(image)
                    )
                    return _png_verdict(to_png(image), *size, channels_of(image))
    except Image.DecompressionBombError:
        reason = f"more than {MAX_PIXELS:,} pixels"
    except Image.UnidentifiedImageError:
        reason = _describe_unknown(data)
    # Pillow's parsers raise whatever a damaged header leads them to.
    except Exception as error:
        reason = f"damaged image: {type(error).__name__} {error}"[:200]
    if pixels is None:
        return Verdict(reason)
    height, width, channels = pixels.shape
    if too_large := check_size(width, height):
        return Verdict(too_large)
    return _png_verdict(
        next(encode_pngs(pixels.numpy()[None])), width, height, channels
    )


def _png_verdict(encoded: bytes, width: int, height: int, channels: int) -> Verdict:
    return Verdict("", encoded, "png", height, width, channels)


@functools.cache
def _pillow_formats() -> tuple[str, ...]:
    """Formats that become PNG, of those that this Pillow reads."""
    Image.init()
    with contextlib.suppress(ImportError):
        import pillow_heif

        pillow_heif.register_heif_opener()
    return tuple(name for name in _TRANSCODED if name in Image.OPEN)


def _check_kind(image: Image.Image) -> str:
    """Why an image that Pillow opened is left out for what it is, or ''."""
    if image.mode in _DEEP_MODES:
        return f"{image.format} of more than 8 bits a channel: {_HOW_TO_CONVERT}"
    if image.format == "TIFF" and (pages := getattr(image, "n_frames", 1)) > 1:
        return f"TIFF of {pages:,} pages: {_HOW_TO_CONVERT}, a file a page"
    return ""


def _describe_unknown(data: bytes) -> str:
    if data[4:].startswith(_HEIC):
        return (
            "HEIC is read where pillow-heif is installed (pip install pillow-heif);"
            f" or {_HOW_TO_CONVERT}"
        )
    if data[4:].startswith(_AVIF):
        return f"AVIF is read by Pillow 11.3 and newer; or {_HOW_TO_CONVERT}"
    if data.startswith(_TIFF):
        return (
            "TIFF is not accepted unless it is whole and has one page of 8-bit gray or"
            f" colour; {_HOW_TO_CONVERT}"
        )
    if data.startswith(b"version https://git-lfs"):
        return "a pointer of Git LFS, whose file was not fetched: git lfs pull"
    start = data[:160].lstrip().lower()
    for place, magic, kind in _OTHER_KINDS:
        if start.startswith(magic.lower(), place):
            return f"{kind} is not accepted ({_READ}); {_HOW_TO_CONVERT}"
    return f"not an image: it starts with {data[:8]!r}"


def check_size(width: int, height: int, max_pixels: int | None = None) -> str:
    """Why an image of that size in px is refused, or ''; None for `MAX_PIXELS`."""
    max_pixels = MAX_PIXELS if max_pixels is None else max_pixels
    if width < 1 or height < 1:
        return f"an image of {width}x{height} px"
    if max(width, height) > MAX_SIDE_PX:
        return f"{width}x{height} px, at most {MAX_SIDE_PX:,} a side are read"
    if width * height > max_pixels:
        return f"{width}x{height} px, at most {max_pixels:,} in all are read"
    if max(width, height) > MAX_ASPECT_RATIO * min(width, height):
        return f"{width}x{height} px, {TOO_NARROW}"
    return ""


def channels_of(image: Image.Image) -> int:
    """1 for gray, 3 for colour; alpha is not counted."""
    return 1 if image.mode in _GRAY_MODES else 3


def to_png(image: Image.Image) -> bytes:
    """PNG of the first frame, upright; alpha is dropped, as TensorFlow drops it."""
    image.seek(0)
    channels = channels_of(image)
    pixels = np.asarray(image.convert("L" if channels == 1 else "RGB"), np.uint8)
    pixels = orientation.turn(pixels, orientation.of_opened(image))
    height, width = pixels.shape[:2]
    return next(encode_pngs(pixels.reshape(1, height, width, channels)))


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
    start = image_header.PNG_SIGNATURE + _chunk(b"IHDR", header)
    end = _chunk(b"IEND", b"")
    for image in rows:
        yield start + _chunk(b"IDAT", zlib.compress(image.tobytes(), _PNG_EFFORT)) + end


def _chunk(kind: bytes, content: bytes) -> bytes:
    checksum = zlib.crc32(content, zlib.crc32(kind))
    return (
        struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)
    )

"""Images as the served signature takes them: JPEG or PNG bytes.

The limits are those of ingest, so that a model is asked about nothing it could not have
been trained on.
"""

import io
import os
import pathlib
import warnings
from typing import Any

import numpy as np
from PIL import Image

from schema.errors import DataError

MAX_FILE_BYTES = 64 << 20
MAX_PIXELS = 50_000_000

_ACCEPTED = ("JPEG", "PNG", "BMP", "GIF", "WEBP")
# MPO is a JPEG with a second picture behind it, as phones write it; Pillow's JPEG reader
# finds that out.
_KEPT = ("JPEG", "MPO", "PNG")
_GRAY_MODES = ("1", "L", "LA", "La", "I", "I;16", "I;16B", "I;16L", "F")


def encode(image: Any, name: str) -> bytes:
    """JPEG or PNG bytes of one image.

    Args:
      image: path, encoded bytes, PIL image, or uint8 array [height, width] or [height,
        width, channels] with 1, 3 or 4 channels.
      name: of the image, for messages.

    Returns:
      The bytes themselves where they are JPEG or PNG; PNG for everything else, of the first
      frame, alpha dropped.

    Raises:
      DataError: not an image, damaged, or beyond the limits.
    """
    if isinstance(image, str | os.PathLike):
        return _encode_file(_read(pathlib.Path(image), name), name)
    if isinstance(image, bytes | bytearray | memoryview):
        return _encode_file(bytes(image), name)
    if isinstance(image, Image.Image):
        return _as_png(image, name)
    if isinstance(image, np.ndarray):
        return _as_png(_from_array(image, name), name)
    raise DataError(
        f"{name} is not an image",
        found=type(image).__name__,
        expected="a path, encoded bytes, a PIL image or a uint8 array",
    )


def _read(path: pathlib.Path, name: str) -> bytes:
    try:
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            raise _too_large(name, size)
        return path.read_bytes()
    except OSError as error:
        raise DataError(
            f"cannot read image {name}: {error.strerror or error}"
        ) from error


def _encode_file(data: bytes, name: str) -> bytes:
    if not data:
        raise DataError(f"cannot read image {name}: it is empty")
    if len(data) > MAX_FILE_BYTES:
        raise _too_large(name, len(data))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of sizes that are refused below anyway
            with Image.open(io.BytesIO(data), formats=_ACCEPTED) as image:
                _check_size(image.size, name)
                return data if image.format in _KEPT else _as_png(image, name)
    except DataError:
        raise
    except Image.UnidentifiedImageError as error:
        raise DataError(
            f"cannot read image {name}: not an image, it starts with {data[:8]!r}",
            expected="JPEG, PNG, BMP, GIF or WebP",
        ) from error
    except Image.DecompressionBombError as error:
        raise DataError(
            f"cannot read image {name}: more than {MAX_PIXELS:,} pixels"
        ) from error
    # Pillow's parsers raise whatever a damaged file leads them to.
    except Exception as error:
        raise DataError(f"cannot read image {name}: damaged: {error}"[:300]) from error


def _as_png(image: Image.Image, name: str) -> bytes:
    _check_size(image.size, name)
    image.seek(0)
    target = io.BytesIO()
    mode = "L" if image.mode in _GRAY_MODES else "RGB"
    image.convert(mode).save(target, "PNG", compress_level=1)
    return target.getvalue()


def _from_array(pixels: np.ndarray, name: str) -> Image.Image:
    is_image = pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[2] in (1, 3, 4))
    if pixels.dtype != np.uint8 or not is_image or not pixels.size:
        raise DataError(
            f"{name} is not an image",
            found=f"array {list(pixels.shape)} of {pixels.dtype}",
            expected="uint8 [height, width] or [height, width, channels] with 1, 3 or 4"
            " channels",
        )
    return Image.fromarray(pixels[:, :, 0] if pixels.shape[2:] == (1,) else pixels)


def _check_size(size: tuple[int, int], name: str) -> None:
    width, height = size
    if width * height > MAX_PIXELS or width < 1 or height < 1:
        raise DataError(
            f"cannot read image {name}: {width}x{height} px",
            expected=f"1 to {MAX_PIXELS:,} pixels",
        )


def _too_large(name: str, size_bytes: int) -> DataError:
    return DataError(
        f"cannot read image {name}: {size_bytes:,} bytes",
        expected=f"at most {MAX_FILE_BYTES:,} bytes",
    )

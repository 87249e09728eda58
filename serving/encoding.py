"""Encodes images for the served signature: JPEG or PNG bytes.

Files and bytes pass the checks of ingest (`schema.images`), so that a model gets no image that
it could not have been trained on. TensorFlow is imported only to decode pixels.
"""

import os
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image

from common.errors import DataError
from schema import file_tree, images


def encode(image: Any, name: str, *, is_decoded: bool = True) -> bytes:
    """JPEG or PNG bytes of one image.

    Args:
      image: path, encoded bytes, PIL image, or uint8 array [height, width] or [height,
        width, channels] with 1, 3 or 4 channels.
      name: of the image, for messages.
      is_decoded: False leaves the check of the pixels of JPEG and PNG to a server.

    Returns:
      JPEG or PNG bytes unchanged; for everything else PNG of the first frame, without
      alpha.

    Raises:
      DataError: not an image, damaged, or beyond the limits.
    """
    check = images.check_image if is_decoded else images.check_header
    if isinstance(image, str | os.PathLike):
        return _accepted(check_file(image, check), name)
    if isinstance(image, bytes | bytearray | memoryview):
        return _accepted(check(bytes(image)), name)
    if isinstance(image, np.ndarray):
        image = _from_array(image, name)
    if isinstance(image, Image.Image):
        if reason := images.check_size(*image.size):
            raise _refused(name, reason)
        return images.to_png(image)
    raise DataError(
        f"{name} is not an image",
        found=type(image).__name__,
        expected="a path, encoded bytes, a PIL image or a uint8 array",
    )


def check_file(
    path: str | os.PathLike[str],
    check: Callable[[bytes], images.Verdict] = images.check_image,
) -> images.Verdict:
    """Verdict on an image file; `check` gives that on its bytes."""
    try:
        # One byte above the limit is enough to refuse a larger file.
        data = file_tree.read_file(path, images.MAX_FILE_BYTES + 1)
    except OSError as error:
        return images.Verdict(error.strerror or str(error))
    return check(data)


def _accepted(verdict: images.Verdict, name: str) -> bytes:
    if verdict.reason:
        raise _refused(name, verdict.reason)
    return verdict.encoded


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


def _refused(name: str, reason: str) -> DataError:
    return DataError(f"cannot read image {name}: {reason}")

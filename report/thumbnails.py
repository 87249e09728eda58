"""Thumbnails for a page, as data: addresses."""

import base64
import io
from collections.abc import Iterable, Mapping

import numpy as np
from PIL import Image

from schema import orientation

MAX_SIDE_PX = 64
# Up to this side PNG, exact and as short: blocks of WebP would show.
EXACT_SIDE_PX = 16
QUALITY = 85


def of_encoded(encoded: bytes) -> str | None:
    """Thumbnail of a JPEG or PNG, upright; None where it cannot be decoded."""
    try:
        with Image.open(io.BytesIO(encoded), formats=("JPEG", "PNG")) as image:
            image.draft("RGB", (MAX_SIDE_PX, MAX_SIDE_PX))
            return of_image(image, orientation.read(encoded))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None


def of_pixels(pixels: np.ndarray) -> str:
    """Thumbnail of uint8 [height, width, channels]."""
    return of_image(Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels))


def of_image(image: Image.Image, stored: int = orientation.UPRIGHT) -> str:
    """Thumbnail of an image, in colour or gray, turned by its Exif orientation `stored`."""
    small = image.convert("L" if image.mode in ("1", "L", "LA", "I;16") else "RGB")
    small.thumbnail((MAX_SIDE_PX, MAX_SIDE_PX), Image.Resampling.LANCZOS)
    if stored != orientation.UPRIGHT:
        small = Image.fromarray(orientation.turn(np.asarray(small), stored))
    file = io.BytesIO()
    if max(small.size) <= EXACT_SIDE_PX:
        small.save(file, "PNG", optimize=True)
        kind = "png"
    else:
        small.save(file, "WEBP", quality=QUALITY)
        kind = "webp"
    return f"data:image/{kind};base64,{base64.b64encode(file.getvalue()).decode()}"


def within(
    keys: Iterable[str], encoded: Mapping[str, bytes], max_bytes: int
) -> dict[str, str]:
    """Key -> thumbnail, in the order of `keys`, until `max_bytes` are used."""
    found: dict[str, str] = {}
    spent = 0
    for key in keys:
        address = of_encoded(encoded[key]) if key in encoded else None
        if address is None or key in found:
            continue
        spent += len(address)
        if spent > max_bytes:
            break
        found[key] = address
    return found

"""What an image is like beside its class: values by which a split is sliced."""

from collections.abc import Callable, Mapping
from typing import Any

from schema import features, images

_SMALLEST_BUCKET_PX = 32


def size(example: Mapping[str, Any]) -> str:
    """Bucket of the longer side: each is twice as wide as the one before."""
    longer_px = max(int(example[features.HEIGHT][0]), int(example[features.WIDTH][0]))
    high_px = _SMALLEST_BUCKET_PX
    while longer_px > high_px:
        high_px *= 2
    if high_px == _SMALLEST_BUCKET_PX:
        return f"up to {high_px} px"
    return f"{high_px // 2 + 1} to {high_px} px"


def colour(example: Mapping[str, Any]) -> str:
    """'gray' or 'colour', as the image is stored."""
    encoded = bytes(example[features.ENCODED][0])
    return "gray" if images.read_header(encoded).channels == 1 else "colour"


def source(example: Mapping[str, Any]) -> str:
    """Where the image came from: its file of many images, or the folder of its file."""
    key = bytes(example[features.KEY][0]).decode(errors="replace")
    file, is_one_of_many, _ = key.partition("#")
    return file if is_one_of_many else file.rpartition("/")[0] or "."


TRAITS: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "size": size,
    "colour": colour,
    "source": source,
}

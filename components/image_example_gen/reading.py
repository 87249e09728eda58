"""Images of a source, checked, hashed and labelled, one record each."""

import logging
import time
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from components.image_example_gen import looks, records, splits, windows
from schema import images

PROGRESS_SECONDS = 1.0

_PROGRESS = logging.getLogger("slimline.progress")


class Record(NamedTuple):
    """One image on its way into an Example.

    Attributes:
      row: what its split is decided by.
      label: index of its class in the contract, or UNKNOWN_LABEL; without a contract its
        number in the dataset.
      format: 'jpeg' or 'png'.
      encoded: bytes of that format; b'' where they are read again from `name`.
      name: its file in the source.
      image_bytes: of the image where it is read again, else 0.
    """

    row: splits.Row
    label: int
    format: str
    encoded: bytes
    name: str
    image_bytes: int = 0


class Progress:
    """Logs about once a second how many images this process has read."""

    def __init__(self) -> None:
        self.images = 0
        self._told = time.monotonic()

    def add(self, count: int) -> None:
        self.images += count
        now = time.monotonic()
        if now - self._told >= PROGRESS_SECONDS:
            self._told = now
            _PROGRESS.info("ingest", extra={"fields": {"images": self.images}})


def records_of(
    found: Iterable[records.Found],
    plan: windows.Images,
    classes: records.Classes,
    *,
    has_pixels: bool = True,
) -> Iterator[Record | records.Unreadable | records.Ignored]:
    """Records of what was read from a part of a source.

    Args:
      found: of `plan.read`.
      plan: of the source.
      classes: of the contract.
      has_pixels: False leaves raw pixels without their PNG (`encoded` is b'').

    Raises:
      DataError: the part breaks its format, where it is read on the way.
    """
    for item in found:
        if isinstance(item, records.PixelBatch):
            yield from _from_pixels(item, classes, has_pixels)
        elif isinstance(item, records.ImageFile):
            yield _from_file(item, classes, plan)
        else:
            yield item


def _from_pixels(
    batch: records.PixelBatch, classes: records.Classes, has_pixels: bool
) -> Iterator[Record]:
    _, height, width, channels = batch.pixels.shape
    encoded = images.encode_pngs(batch.pixels) if has_pixels else None
    for offset, index in enumerate(batch.indices.tolist()):
        label, text = classes.of_pixels(batch, index)
        row = splits.Row(
            splits.digest_of(batch.pixels[offset].tobytes()),
            batch.split,
            text,
            f"{batch.file}#{batch.first + offset}",
            channels == 1,
            height,
            width,
        )
        yield Record(row, label, "png", next(encoded) if encoded else b"", batch.file)


def _from_file(
    image: records.ImageFile, classes: records.Classes, plan: windows.Images
) -> Record | records.Unreadable:
    verdict = images.check_image(image.data)
    if verdict.reason:
        return records.Unreadable(image.key, verdict.reason)
    label, text = classes.of_name(image.word)
    row = splits.Row(
        splits.digest_of(image.data),
        image.split,
        text,
        image.key,
        verdict.channels == 1,
        verdict.height,
        verdict.width,
        looks.group_of(verdict.encoded) if plan.grouping.is_by_looks else image.group,
    )
    # Files that can be opened again need not wait in memory for their turn to be written.
    is_read_again = (
        plan.is_random_access and bool(image.name) and verdict.encoded is image.data
    )
    encoded = b"" if is_read_again else verdict.encoded
    image_bytes = len(image.data) if is_read_again else 0
    return Record(row, label, verdict.format, encoded, image.name, image_bytes)

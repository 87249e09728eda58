"""Images from the Examples of a split, read once and only as far as needed."""

import pathlib
from collections.abc import Collection, Iterator
from typing import NamedTuple

import tensorflow as tf

from schema import features
from trainer import input_pipeline

# Enough for two images of each class shown, also where files are ordered by class.
MAX_SEARCHED = 200_000


class SplitImage(NamedTuple):
    """One image.

    Attributes:
      key: of the Example.
      label: number of its class.
      encoded: JPEG or PNG.
    """

    key: str
    label: int
    encoded: bytes


def by_key(split: pathlib.Path, keys: Collection[str]) -> dict[str, bytes]:
    """Key -> JPEG or PNG, for the keys that are in the split."""
    wanted = set(keys)
    found: dict[str, bytes] = {}
    if not wanted:
        return found
    for image in _read(split):
        if image.key in wanted:
            found[image.key] = image.encoded
            if len(found) == len(wanted):
                break
    return found


def of_each_class(
    split: pathlib.Path, labels: Collection[int], per_class: int
) -> dict[int, list[SplitImage]]:
    """The first `per_class` images of each of `labels`."""
    found: dict[int, list[SplitImage]] = {label: [] for label in labels}
    lacking = len(found)
    for place, image in enumerate(_read(split)):
        if not lacking or place >= MAX_SEARCHED:
            break
        images = found.get(image.label)
        if images is not None and len(images) < per_class:
            images.append(image)
            lacking -= len(images) == per_class
    return found


def _read(split: pathlib.Path) -> Iterator[SplitImage]:
    files = sorted(str(path) for path in split.iterdir())
    spec = {
        features.KEY: tf.io.FixedLenFeature([], tf.string),
        features.LABEL: tf.io.FixedLenFeature([], tf.int64),
        features.ENCODED: tf.io.FixedLenFeature([], tf.string),
    }
    dataset = (
        tf.data.TFRecordDataset(files, input_pipeline.COMPRESSION)
        .batch(256)
        .map(lambda serialised: tf.io.parse_example(serialised, spec))
    )
    for batch in dataset.as_numpy_iterator():
        for key, label, encoded in zip(
            batch[features.KEY],
            batch[features.LABEL],
            batch[features.ENCODED],
            strict=True,
        ):
            yield SplitImage(key.decode(errors="replace"), int(label), encoded)

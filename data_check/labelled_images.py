"""Images to check, one at a time, from where they lie."""

import itertools
import pathlib
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

import tensorflow as tf

from common.errors import DataError
from components.image_example_gen import inspection, layouts, records
from schema import features, images


class LabelledImage(NamedTuple):
    """An image as it is stored.

    Attributes:
      split: 'train', 'eval', 'test', or 'all' where the data have no splits.
      key: its path or place in the source.
      text: its class as the data spell it; its number where it has no name.
      encoded: a file as it is, not yet checked.
    """

    split: str
    key: str
    text: str
    encoded: bytes


def from_path(
    path: str, answers: layouts.Answers = layouts.Answers()
) -> Iterator[LabelledImage | records.Unreadable]:
    """Images of a folder or an archive, as ingest would read them.

    Args:
      path: folder or archive.
      answers: what a person decided about the layout.

    Raises:
      ConfigError: the format is unknown, or several readings fit.
      DataError: nothing of that kind is there, or the data break their format.
    """
    yield from from_plan(layouts.plan(path, answers))


def from_plan(
    plan: layouts.Plan, split: str | None = None
) -> Iterator[LabelledImage | records.Unreadable]:
    """Images of a source that was looked at; see `from_path`.

    Args:
      plan: of the source.
      split: only these, and what is unreadable; None for all.
    """
    for found in _read(plan):
        if isinstance(found, records.Unreadable):
            yield found
        elif split is None or split == (found.split or inspection.ALL):
            if isinstance(found, records.PixelBatch):
                yield from _from_pixels(found)
            else:
                yield _from_file(found)


def count(plan: layouts.Plan) -> dict[str, Counter[str]]:
    """Split -> class -> images, by the names alone: no image is decoded or encoded.

    Raises:
      DataError: the data break their format.
    """
    counts: dict[str, Counter[str]] = {}
    for found in _read(plan):
        if isinstance(found, records.Unreadable):
            continue
        of_split = counts.setdefault(found.split or inspection.ALL, Counter())
        if isinstance(found, records.PixelBatch):
            for index, number in Counter(found.indices.tolist()).items():
                of_split[found.class_name(index)] += number
        else:
            of_split[found.word] += 1
    return counts


def _read(
    plan: layouts.Plan,
) -> Iterator[records.PixelBatch | records.ImageFile | records.Unreadable]:
    for found in itertools.chain.from_iterable(map(plan.read, plan.units)):
        if not isinstance(found, records.Ignored):
            yield found


def from_examples(uri: str) -> Iterator[LabelledImage]:
    """Images of the Examples that the ingest of a run wrote.

    Args:
      uri: folder of the Examples, local, with Split-train/ and the other splits.

    Raises:
      DataError: no Examples are there, or a file of them is damaged.
    """
    files = {
        split: sorted(map(str, pathlib.Path(uri).glob(f"Split-{split}/*.gz")))
        for split in features.SPLITS
    }
    if not any(files.values()):
        raise DataError(
            f"no Examples in {uri}", expected="Split-train/*.gz, as ingest writes them"
        )
    for split, names in files.items():
        dataset = tf.data.TFRecordDataset(names, compression_type="GZIP")
        try:
            for record in dataset.as_numpy_iterator():
                yield _from_example(split, tf.train.Example.FromString(record))
        except tf.errors.DataLossError as error:
            raise DataError(
                f"damaged Examples in {uri}/Split-{split}",
                found=error.message,
                tip="run again with --no-cache",
            ) from error


def _from_pixels(batch: records.PixelBatch) -> Iterator[LabelledImage]:
    indices = batch.indices.tolist()
    encoded = images.encode_pngs(batch.pixels)
    for place, (index, data) in enumerate(
        zip(indices, encoded, strict=True), start=batch.first
    ):
        key = f"{batch.file}#{place}"
        yield LabelledImage(batch.split, key, batch.class_name(index), data)


def _from_file(image: records.ImageFile) -> LabelledImage:
    return LabelledImage(
        image.split or inspection.ALL, image.key, image.word, image.data
    )


def _from_example(split: str, example: tf.train.Example) -> LabelledImage:
    feature = example.features.feature
    encoded, key, text = (
        feature[name].bytes_list.value[0]
        for name in (features.ENCODED, features.KEY, features.TEXT)
    )
    return LabelledImage(
        split,
        key.decode("utf-8", "surrogateescape"),
        text.decode("utf-8", "surrogateescape"),
        encoded,
    )

"""Examples to the TFRecord files of a split, and their labels beside them."""

import posixpath
import uuid
from collections.abc import Iterable

import numpy as np
import tensorflow as tf
from tfx.dsl.io import fileio

from common.errors import DataError
from components.image_example_gen import examples, splits, spool, steps
from components.image_example_gen.index import PLACE
from components.image_example_gen.sources import limits
from components.image_example_gen.sources.source import MemberTooLarge
from schema import example_labels, features

SHARD_PATTERN = "data_tfrecord-{:05d}-of-{:05d}.gz"
# Of the images in a file.
SHARD_BYTES = 200_000_000
# Training reads several files side by side, and workers write them side by side.
MIN_SHARDS = {features.TRAIN: 4, features.EVAL: 1, features.TEST: 1}
# JPEG and PNG are compressed already; more effort only costs time.
GZIP_LEVEL = 1


def number_of(split: str, image_bytes: int) -> int:
    """Files for a split: of 100 to 200 MB, or fewer and smaller ones."""
    return max(MIN_SHARDS[split], -(-image_bytes // SHARD_BYTES))


class WriteShard(steps.RefusingDoFn):
    """What a file holds (`index.Index.shards`) -> the TFRecord file, and its labels.

    One Example at a time is in memory.
    """

    def process(self, shard: tuple[str, int, int, list[str], bytes]) -> Iterable[None]:
        split, number, count, names, content = shard
        places = np.frombuffer(content, PLACE)
        folder = posixpath.join(self._job.output_uri, f"Split-{split}")
        fileio.makedirs(folder)
        uri = posixpath.join(folder, SHARD_PATTERN.format(number, count))
        # Beside the split and renamed, so that no reader meets half a file.
        temporary = posixpath.join(self._job.working_uri, f".{uuid.uuid4().hex}")
        options = tf.io.TFRecordOptions("GZIP", compression_level=GZIP_LEVEL)
        try:
            with (
                tf.io.TFRecordWriter(temporary, options) as writer,
                spool.Reader(self._job.spool_uri) as stored,
            ):
                for file, offset, length, _, is_read_again in places.tolist():
                    example = stored.read(names[file], offset, length)
                    if is_read_again:
                        example = examples.complete(example, self._read_again)
                    writer.write(example)
        except DataError as error:
            self._refuse(error)
            return []
        labels = example_labels.path_of(uri)
        fileio.makedirs(labels.rpartition("/")[0])
        with fileio.open(labels, "wb") as file:
            file.write(example_labels.encode(places["label"]))
        fileio.rename(temporary, uri, overwrite=True)
        return []

    def _read_again(self, name: str, digest: bytes) -> bytes:
        try:
            data = self._job.plan.read_file(name, limits.LIMITS.image_bytes)
        except (OSError, MemberTooLarge) as error:
            raise _changed(name) from error
        if splits.digest_of(data) != digest:
            raise _changed(name)
        return data


def _changed(name: str) -> DataError:
    return DataError(
        f"{name} changed while it was read",
        tip="run again once nothing writes to the data",
    )

"""Writes records as tf.train.Examples into the TFRecord files of a split."""

import json
import posixpath
import uuid
from collections.abc import Callable, Iterable

import numpy as np
import tensorflow as tf
from tfx.dsl.io import fileio

from common.errors import DataError
from components.image_example_gen import splits, spool, steps
from components.image_example_gen.index import PLACE
from components.image_example_gen.reading import Record
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

    def step(self, shard: tuple[str, int, int, list[str], bytes]) -> Iterable[None]:
        split, number, count, names, content = shard
        places = np.frombuffer(content, PLACE)
        folder = posixpath.join(self._job.output_uri, f"Split-{split}")
        fileio.makedirs(folder)
        uri = posixpath.join(folder, SHARD_PATTERN.format(number, count))
        # Beside the split and renamed, so that no reader meets half a file.
        temporary = posixpath.join(self._job.working_uri, f".{uuid.uuid4().hex}")
        options = tf.io.TFRecordOptions("GZIP", compression_level=GZIP_LEVEL)
        with (
            tf.io.TFRecordWriter(temporary, options) as writer,
            spool.Reader(self._job.spool_uri) as stored,
        ):
            for file, offset, length, _, is_read_again in places.tolist():
                example = stored.read(names[file], offset, length)
                if is_read_again:
                    example = complete(example, self._read_again)
                writer.write(example)
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


def serialize(record: Record) -> bytes:
    """A tf.train.Example; the same record gives the same bytes."""
    row = record.row
    values: dict[str, bytes | int] = {
        features.ENCODED: record.encoded,
        features.FORMAT: record.format.encode(),
        features.HEIGHT: row.height,
        features.WIDTH: row.width,
        features.LABEL: record.label,
        features.TEXT: row.text.encode("utf-8", "surrogateescape"),
        features.KEY: row.key.encode("utf-8", "surrogateescape"),
    }
    example = tf.train.Example()
    feature = example.features.feature
    for name, value in values.items():
        if isinstance(value, bytes):
            feature[name].bytes_list.value.append(value)
        else:
            feature[name].int64_list.value.append(value)
    return example.SerializeToString(deterministic=True)


def defer(record: Record) -> bytes:
    """What `complete` needs of a record whose image is read again."""
    digest, *row = record.row
    fields = (digest.hex(), row, record.label, record.format, record.name)
    return json.dumps(fields).encode()


def complete(deferred: bytes, read: Callable[[str, bytes], bytes]) -> bytes:
    """The Example of a record with its image, which `read` gives by name and digest."""
    digest, fields, label, format, name = json.loads(deferred)
    row = splits.Row(bytes.fromhex(digest), *fields)
    return serialize(Record(row, label, format, read(name, row.digest), name))

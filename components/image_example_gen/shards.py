"""Records to the TFRecord files of a split."""

import uuid
from collections.abc import Iterable, Iterator

import tensorflow as tf
from tfx.dsl.io import fileio

from components.image_example_gen import reading, splits, spool, steps, uris
from components.image_example_gen.sources import limits
from components.image_example_gen.sources.source import MemberTooLarge
from schema import features
from schema.errors import DataError

SHARD_PATTERN = "data_tfrecord-{:05d}-of-{:05d}.gz"
# JPEG and PNG are compressed already; more effort only costs time.
GZIP_LEVEL = 1


class WriteShard(steps.RefusingDoFn):
    """((split, shard), records) -> one TFRecord file."""

    def process(
        self, element: tuple[tuple[str, int], Iterable[list[tuple]]]
    ) -> Iterable[None]:
        (split, shard), batches = element
        # By digest, so that classes are mixed; by key where images are equal.
        rows = sorted(
            (record for batch in batches for record in batch),
            key=lambda record: (record[0][0][16:], record[0]),
        )
        folder = uris.join(self._job.output_uri, f"Split-{split}")
        fileio.makedirs(folder)
        name = SHARD_PATTERN.format(shard, self._job.shards[split])
        # Beside the split and renamed, so that no reader meets half a file.
        temporary = uris.join(self._job.working_uri, f".{uuid.uuid4().hex}")
        options = tf.io.TFRecordOptions("GZIP", compression_level=GZIP_LEVEL)
        try:
            with tf.io.TFRecordWriter(temporary, options) as writer:
                for record in self._with_images(rows):
                    writer.write(_serialize(record))
        except DataError as error:
            self._refuse(error)
            return []
        fileio.rename(temporary, uris.join(folder, name), overwrite=True)
        return []

    def _with_images(self, rows: Iterable[tuple]) -> Iterator[reading.Record]:
        """The records with their images, from the spool or read again."""
        places = [spool.Place(*place) for *_, place in rows if place]
        images = spool.read(self._job.spool_uri, places)
        for fields, label, format, name, place in rows:
            row = splits.Row(*fields)
            encoded = (
                images[spool.Place(*place)] if place else self._read_again(row, name)
            )
            yield reading.Record(row, label, format, encoded, name)

    def _read_again(self, row: splits.Row, name: str) -> bytes:
        try:
            data = self._job.plan.read_file(name, limits.LIMITS.image_bytes)
        except (OSError, MemberTooLarge) as error:
            raise _changed(name) from error
        if splits.digest_of(data) != row.digest:
            raise _changed(name)
        return data


def _serialize(record: reading.Record) -> bytes:
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


def _changed(name: str) -> DataError:
    return DataError(
        f"{name} changed while it was read",
        tip="run again when nothing writes to the data any more",
    )

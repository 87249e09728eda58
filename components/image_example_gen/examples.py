"""Records as serialised tf.train.Examples, or for now as what they are made of later."""

import json
from collections.abc import Callable

import tensorflow as tf

from components.image_example_gen import splits
from components.image_example_gen.reading import Record
from schema import features


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

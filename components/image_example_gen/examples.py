"""Records as serialised tf.train.Examples, with their image or with where to read it again."""

from collections.abc import Callable

import tensorflow as tf

from components.image_example_gen import reading
from schema import features


def serialize(record: reading.Record) -> bytes:
    """A tf.train.Example; the same record gives the same bytes.

    One whose image is read again later holds the name of its file and its digest in place
    of the image, for `complete`.
    """
    row = record.row
    name = record.name.encode("utf-8", "surrogateescape")
    image = [record.encoded] if record.encoded else [name, row.digest]
    example = tf.train.Example()
    feature = example.features.feature
    feature[features.ENCODED].bytes_list.value.extend(image)
    for key, text in (
        (features.FORMAT, record.format),
        (features.TEXT, row.text),
        (features.KEY, row.key),
    ):
        encoded = text.encode("utf-8", "surrogateescape")
        feature[key].bytes_list.value.append(encoded)
    for key, number in (
        (features.HEIGHT, row.height),
        (features.WIDTH, row.width),
        (features.LABEL, record.label),
    ):
        feature[key].int64_list.value.append(number)
    return example.SerializeToString(deterministic=True)


def complete(serialised: bytes, read: Callable[[str, bytes], bytes]) -> bytes:
    """An Example of `serialize` with its image, which `read` gives by name and digest."""
    example = tf.train.Example.FromString(serialised)
    values = example.features.feature[features.ENCODED].bytes_list.value
    name, digest = values
    del values[:]
    values.append(read(name.decode("utf-8", "surrogateescape"), digest))
    return example.SerializeToString(deterministic=True)

"""TFRecord files of tf.train.Examples, such as those of TensorFlow Datasets."""

import functools
import posixpath
import re
import struct
from collections.abc import Iterator
from typing import Any

from google.protobuf import (
    descriptor_pb2,
    descriptor_pool,
    message,
    message_factory,
    text_format,
)

from common.errors import DataError
from components.image_example_gen import records
from components.image_example_gen.layouts import containers
from components.image_example_gen.layouts.layout import Listing, splits_setting
from components.image_example_gen.sources.source import Member, unpack

# Features of the file, and of objects in an image: none of its class.
_OTHERS = re.compile(
    r"(image/)?(object/.*|filename|file_name|id|key/.*|format|height|width|depth|channels"
    r"|colorspace)"
)
_NUMBERED = re.compile(r"(\d+)\s*[:=,\t ]\s*(.+)")
# Where class names may stand, one a line, in the order of their numbers.
_CLASS_FILES = ("labels.txt", "classes.txt", "class_names.txt")
# Of tensorflow/core/example/example.proto and feature.proto.
_EXAMPLE_PROTO = """
name: "slimline/example.proto" package: "slimline" syntax: "proto3"
message_type { name: "Texts"
  field { name: "value" number: 1 label: LABEL_REPEATED type: TYPE_BYTES } }
message_type { name: "Numbers"
  field { name: "value" number: 1 label: LABEL_REPEATED type: TYPE_INT64 } }
message_type { name: "Feature"
  field { name: "texts" number: 1 type: TYPE_MESSAGE type_name: ".slimline.Texts" }
  field { name: "numbers" number: 3 type: TYPE_MESSAGE type_name: ".slimline.Numbers" } }
message_type { name: "Entry"
  field { name: "key" number: 1 type: TYPE_STRING }
  field { name: "value" number: 2 type: TYPE_MESSAGE type_name: ".slimline.Feature" } }
message_type { name: "Features"
  field { name: "feature" number: 1 label: LABEL_REPEATED
          type: TYPE_MESSAGE type_name: ".slimline.Entry" } }
message_type { name: "Example"
  field { name: "features" number: 1 type: TYPE_MESSAGE type_name: ".slimline.Features" } }
"""


class TFRecordLayout(containers.RecordLayout):
    """TFRecord files with an Example an image; `files` may have one with class names."""

    FORMAT = "tfrecord"
    NAME = re.compile(
        r"(?!.*\.(parquet|json)$)"
        r"(.*\.(tfrecords?|tfrec)(-\d+-of-\d+)?(\.gz)?|.*-\d{5}-of-\d{5}(\.gz)?)",
        re.IGNORECASE,
    )

    def read_file(self, member: Member) -> Iterator[records.ImageFile]:
        split = containers.split_of_shard(member.name)
        for number, features in enumerate(_examples(member.name, unpack(member))):
            key = f"{member.name}#{number}"
            data, label = (
                _value(key, features, name) for name in (self.image, self.label)
            )
            group = _value(key, features, self.group) if self.group else None
            yield self.image_file(split, key, data, label, group)


def find(listing: Listing) -> TFRecordLayout | None:
    """The layout of the TFRecord files, by the first Example.

    Raises:
      ConfigError: several features may hold the images or the classes.
      DataError: no feature does, or the file is damaged.
    """
    member = TFRecordLayout.first(listing)
    if not member:
        return None
    features = next(_examples(member.name, unpack(member)), None)
    if features is None:
        raise DataError(f"{member.name} holds no records")
    kinds = {
        name: values[0]
        for name, values in features.items()
        if len(values) == 1
        and isinstance(values[0], (bytes, int))
        and not _OTHERS.fullmatch(name)
    }
    image, label, group = containers.choose_fields(
        member.name,
        [name for name, value in kinds.items() if isinstance(value, bytes)],
        list(kinds),
        listing.answers,
    )
    is_text = isinstance(kinds[label], bytes)
    file, class_names = ("", ()) if is_text else _class_names(listing, label)
    words = [f"TFRecords: '{image}' has the images, '{label}' the classes"]
    if file:
        words.append(f"{file} has the names of the classes")
    return TFRecordLayout(
        format=TFRecordLayout.FORMAT,
        words=tuple(words),
        files=(file,) if file else (),
        image=image,
        label=label,
        group=group,
        class_names=class_names,
    )


def _class_names(listing: Listing, label: str) -> tuple[str, tuple[str, ...]]:
    """The file that names the classes, and its lines; TFDS calls it label.labels.txt."""
    wanted = (f"{label}.labels.txt", *_CLASS_FILES)
    files = [
        name for name in sorted(listing.names) if posixpath.basename(name) in wanted
    ]
    found = {
        name: _in_order(list(lines.values()))
        for name, lines in listing.lines(files).items()
    }
    if len(set(found.values())) > 1:
        raise DataError(
            "several files name the classes, and not alike",
            found=", ".join(found),
            tip=f"{splits_setting({list(found)[-1]: 'none'})} leaves one out",
        )
    return next(iter(found.items()), ("", ()))


def _in_order(lines: list[str]) -> tuple[str, ...]:
    """Names by number: of the lines themselves (slim's `0:daisy`), else of their order."""
    matches = [_NUMBERED.fullmatch(line) for line in lines]
    numbered = {int(match[1]): match[2] for match in matches if match}
    if sorted(numbered) == list(range(len(lines))):
        return tuple(numbered[number] for number in range(len(lines)))
    return tuple(lines)


def _value(key: str, features: dict[str, list[Any]], name: str) -> Any:
    values = features.get(name, [])
    if len(values) != 1:
        raise DataError(
            f"{key} has {len(values)} values of '{name}'",
            found=", ".join(features),
            expected="one",
        )
    return values[0]


def _examples(file: str, data: bytes) -> Iterator[dict[str, list[Any]]]:
    """Feature -> values, of each Example in the content of a TFRecord file.

    A record is its length, a checksum, its bytes and another checksum.
    """
    place = 0
    while place < len(data):
        head = data[place : place + 12]
        length = struct.unpack("<Q", head[:8])[0] if len(head) == 12 else 0
        end = place + 12 + length + 4
        if len(head) < 12 or end > len(data):
            raise DataError(
                f"{file} is damaged or ends early",
                found=f"a record of {length:,} bytes at byte {place:,} of {len(data):,}",
            )
        example = _example_class()()
        try:
            example.ParseFromString(data[place + 12 : end - 4])
        except message.DecodeError as error:
            raise DataError(f"{file} holds no tf.train.Examples: {error}") from error
        yield {
            entry.key: [*entry.value.texts.value, *entry.value.numbers.value]
            for entry in example.features.feature
        }
        place = end


@functools.cache
def _example_class() -> Any:
    """Message class with the wire format of tf.train.Example; floats are passed over.

    TensorFlow's own would load all of TensorFlow for a look at a file.
    """
    file = text_format.Parse(_EXAMPLE_PROTO, descriptor_pb2.FileDescriptorProto())
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(
        pool.FindMessageTypeByName("slimline.Example")
    )

"""TensorFlow Serving's messages for a client, without TensorFlow.

The generated modules `tensorflow_serving.apis` import all of TensorFlow for the one message
`TensorProto`: four seconds and half a gigabyte. So this module reads the descriptors out of the
generated files without running them. Its classes have a descriptor pool of their own, so that
they do not conflict with the generated ones.
"""

import ast
import functools
import pathlib
import re
import sys
from typing import Any

from google.protobuf import (
    descriptor_pb2,
    descriptor_pool,
    json_format,
    message_factory,
)

# Values of TensorFlow's DataType.
FLOAT = 1
STRING = 7
_DESCRIPTOR = re.compile(r"AddSerializedFile\((b.*)\)$", re.MULTILINE)
_FILES = ("predict", "get_model_status", "get_model_metadata")


@functools.cache
def _pool() -> descriptor_pool.DescriptorPool:
    pool = descriptor_pool.DescriptorPool()
    added: set[str] = set()
    for name in _FILES:
        _add(f"tensorflow_serving/apis/{name}.proto", pool, added)
    return pool


def _add(name: str, pool: descriptor_pool.DescriptorPool, added: set[str]) -> None:
    """Adds the descriptor in a generated file, after those that it imports."""
    if name in added:
        return
    added.add(name)
    generated = name.replace(".proto", "_pb2.py")
    places = (
        pathlib.Path(folder, prefix, generated)
        for folder in sys.path
        for prefix in ("", "tensorflow")
    )
    text = next(place for place in places if place.is_file()).read_text("utf-8")
    (literal,) = _DESCRIPTOR.findall(text)
    file = descriptor_pb2.FileDescriptorProto.FromString(ast.literal_eval(literal))
    for dependency in file.dependency:
        _add(dependency, pool, added)
    pool.Add(file)


def message_class(name: str) -> Any:
    """The class of a message of the package `tensorflow.serving`."""
    return message_factory.GetMessageClass(
        _pool().FindMessageTypeByName(f"tensorflow.serving.{name}")
    )


def document(message: Any) -> dict[str, Any]:
    """JSON of a message like TensorFlow Serving's: all fields, original names."""
    return json_format.MessageToDict(
        message, preserving_proto_field_name=True, including_default_value_fields=True
    )

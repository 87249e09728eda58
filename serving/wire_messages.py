"""The messages of TensorFlow Serving that a client sends and gets, without TensorFlow.

To import the generated modules `tensorflow_serving.apis` imports all of TensorFlow, for the
one message `TensorProto`: four seconds and half a gigabyte. So their descriptors are read
out of the generated files, which are not run. The classes live in a pool of their own, where
they cannot meet the generated ones.
"""

import ast
import functools
import pathlib
import re
import sys
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

# DataType of TensorFlow, as far as images and answers need it.
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
    """Adds a .proto file, by what protoc wrote of it, and those that it imports."""
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

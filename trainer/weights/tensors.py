"""Element types, limits and errors that the readers of foreign files share."""

import contextlib
import math
import pathlib
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from common.errors import ConfigError

Tensors = dict[str, np.ndarray]

MAX_DIMENSIONS = 8
# Memory of a reader besides the tensors, which may take twice the size of the file.
SLACK_BYTES = 8 * 2**20
_CHUNK_BYTES = 2**20


class Refused(ValueError):
    """The file is refused; the text says why."""


class ElementType(NamedTuple):
    """Type of a tensor's elements.

    Attributes:
      name: for messages.
      size: bytes of an element in the file.
      dtype: of the array that is read; bfloat16 becomes float32.
    """

    name: str
    size: int
    dtype: str


# The types that are read; others are refused.
READ_TYPES = {
    "float32": ElementType("float32", 4, "<f4"),
    "float16": ElementType("float16", 2, "<f2"),
    "bfloat16": ElementType("bfloat16", 2, "<f4"),
    "float64": ElementType("float64", 8, "<f8"),
    "int64": ElementType("int64", 8, "<i8"),
}


class Place(NamedTuple):
    """Where the bytes of a dataset are in an HDF5 file.

    Attributes:
      path: of the dataset.
      type_name: key of `READ_TYPES`.
      is_big_endian: order of the bytes of an element.
      shape: of the dataset.
      offset, size: in bytes.
    """

    path: str
    type_name: str
    is_big_endian: bool
    shape: tuple[int, ...]
    offset: int
    size: int


@contextlib.contextmanager
def refusing(path: pathlib.Path, kind: str) -> Iterator[None]:
    """Turns what goes wrong while a file is read into one sentence.

    Args:
      path: the file.
      kind: what it is read as, with an article.

    Raises:
      ConfigError: the block raised Refused or an error of the operating system.
    """
    try:
        yield
    except (Refused, OSError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(f"cannot read {path} as {kind}: {reason}") from error


def read_type(name: str, tensor: str) -> ElementType:
    """The element type called `name`.

    Raises:
      Refused: tensors of that type are not read.
    """
    if name not in READ_TYPES:
        raise Refused(
            f"the tensor {shown(tensor)} is of type {name}; read are"
            f" {', '.join(READ_TYPES)}"
        )
    return READ_TYPES[name]


def check_shape(shape: Sequence[Any], tensor: str) -> tuple[int, ...]:
    """`shape` as a tuple.

    Raises:
      Refused: too many dimensions, or one that is no integer from 0.
    """
    if len(shape) > MAX_DIMENSIONS:
        raise Refused(f"the tensor {shown(tensor)} has {len(shape)} dimensions")
    for size in shape:
        if type(size) is not int or size < 0:
            raise Refused(f"the tensor {shown(tensor)} has an impossible shape")
    return tuple(shape)


def check_total(
    arrays: Iterable[tuple[ElementType, Sequence[int]]], file_bytes: int
) -> None:
    """Raises Refused if arrays of these types and shapes take more than twice the file."""
    needed_bytes = sum(
        math.prod(shape) * np.dtype(kind.dtype).itemsize for kind, shape in arrays
    )
    if needed_bytes > 2 * file_bytes:
        raise Refused(
            f"its tensors take {needed_bytes:,} bytes, more than twice the file's"
            f" {file_bytes:,}"
        )


def read_array(
    file: BinaryIO,
    kind: ElementType,
    shape: tuple[int, ...],
    *,
    is_big_endian: bool = False,
) -> np.ndarray:
    """The next elements of `file` as an array of `kind.dtype`; no second copy is made.

    Raises:
      Refused: the file ends before.
    """
    flat = np.empty(math.prod(shape), kind.dtype)
    if kind.size == flat.itemsize:
        _fill(file, flat.view(np.uint8).data)
        if is_big_endian:
            flat.byteswap(inplace=True)
        return flat.reshape(shape)
    wide = flat.view("<u4")
    step = _CHUNK_BYTES // kind.size
    for start in range(0, flat.size, step):
        part = np.empty(min(step, flat.size - start), ">u2" if is_big_endian else "<u2")
        _fill(file, part.view(np.uint8).data)
        wide[start : start + part.size] = part
        wide[start : start + part.size] <<= 16
    return flat.reshape(shape)


def _fill(file: BinaryIO, target: memoryview) -> None:
    at = 0
    while at < len(target):
        # In chunks: a decoder would hold all that it is asked for a second time.
        piece = file.read(min(_CHUNK_BYTES, len(target) - at))
        if not piece:
            raise Refused(f"it ends early: {len(target) - at:,} bytes are missing")
        target[at : at + len(piece)] = piece
        at += len(piece)


def skip(file: BinaryIO, size: int) -> None:
    """Skips `size` bytes of a stream."""
    while size > 0:
        piece = file.read(min(_CHUNK_BYTES, size))
        if not piece:
            raise Refused(f"it ends early: {size:,} bytes are missing")
        size -= len(piece)


def shown(name: str) -> str:
    """A foreign name for a message: quoted, short, without control characters."""
    text = ascii(name)
    return text if len(text) <= 80 else f"{text[:77]}..."


if sys.byteorder != "little":  # pragma: no cover
    raise ImportError("weights are read on little-endian machines only")

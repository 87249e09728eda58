"""Reads the dictionaries of CIFAR's python layout without unpickling anything.

Understood are dictionaries of text, numbers, lists and numpy arrays of integers as
Python 2 (the official files) and Python 3 (`pickle.dump`, protocols 2 to 5) write them.
`common.pickles` interprets the opcodes; the names that these files need are here.
"""

import io
import math
from typing import Any, Literal

import numpy as np

from common.pickles import Name, PickleRefused, Reader, Vocabulary, text

__all__ = ["PickleRefused", "load"]

MAX_DIMENSIONS = 4
# Names and labels take more memory than their bytes in the file; a whole CIFAR-100 has
# 50,000 of each.
SLACK_BYTES = 64 * 2**20

# Array classes: numpy 1 and 2 write different module names.
_CORES = ("numpy.core", "numpy._core")
_RECONSTRUCT = {(f"{core}.multiarray", "_reconstruct") for core in _CORES}
_FROM_BUFFER = {(f"{core}.numeric", "_frombuffer") for core in _CORES}
_NDARRAY = ("numpy", "ndarray")
_DTYPE = ("numpy", "dtype")
_ENCODE = ("_codecs", "encode")
_DTYPES = ("u1", "i1", "i2", "i4", "i8")


class _Dtype:
    def __init__(self, code: str):
        self.code = code
        self.byte_order: Literal["|", "<", ">"] = "<"


class _Array:
    """An array whose parts arrive one after the other; `value` is set when complete."""

    def __init__(self) -> None:
        self.value: np.ndarray | None = None


def load(data: bytes) -> dict[str, Any]:
    """Dictionary in a pickle; its keys are text, byte keys included.

    Arrays are read-only; their size never exceeds the bytes that stand in the file.

    Raises:
      PickleRefused: an opcode, name or shape that plain CIFAR data do not have, or a
        stream that ends early.
    """
    allowance_bytes = 4 * len(data) + SLACK_BYTES
    reader = Reader(io.BytesIO(data), len(data), _Cifar(), allowance_bytes)
    value = reader.run()
    if not isinstance(value, dict):
        raise PickleRefused(f"it holds a {type(value).__name__}, not a dictionary")
    return {key: _plain(item) for key, item in value.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, _Array):
        if value.value is None:
            raise PickleRefused("an array without content")
        return value.value
    if isinstance(value, (Name, _Dtype)):
        raise PickleRefused("a name where data were expected")
    return value


class _Cifar(Vocabulary):
    """The names of numpy arrays."""

    names = frozenset(_RECONSTRUCT | _FROM_BUFFER | {_NDARRAY, _DTYPE, _ENCODE})

    def call(self, function: Name, arguments: tuple[Any, ...]) -> Any:
        """See `Vocabulary`."""
        if function in _RECONSTRUCT:
            # The shape given here is a placeholder; the real one comes with BUILD.
            if len(arguments) != 3 or arguments[0] != _NDARRAY or arguments[1] != (0,):
                raise PickleRefused("an array that is made with a size of its own")
            return _Array()
        if function == _DTYPE:
            code = text(arguments[0]) if arguments else ""
            if code not in _DTYPES:
                raise PickleRefused(f"an array of type {ascii(code)[:20]}")
            return _Dtype(code)
        if function == _ENCODE:
            if len(arguments) != 2 or text(arguments[1]) not in ("latin1", "latin-1"):
                raise PickleRefused("text in an encoding other than latin1")
            try:
                return text(arguments[0]).encode("latin-1")
            except UnicodeEncodeError as error:
                raise PickleRefused("text that is not latin1") from error
        if function in _FROM_BUFFER:
            if len(arguments) != 4:
                raise PickleRefused("an array with missing parts")
            content, dtype, shape, order = arguments
            array = _Array()
            array.value = _make_array(shape, dtype, text(order) == "F", content)
            return array
        raise PickleRefused(f"it calls {function.module}.{function.name}")

    def build(self, target: Any, state: Any) -> None:
        """See `Vocabulary`."""
        if isinstance(target, _Dtype):
            if not isinstance(state, tuple) or len(state) < 2:
                raise PickleRefused("an array type with missing parts")
            match text(state[1]):
                case "|" | "<" | ">" as order:
                    target.byte_order = order
                case _:
                    raise PickleRefused("an array type of unknown byte order")
        elif isinstance(target, _Array) and target.value is None:
            if not isinstance(state, tuple) or len(state) != 5:
                raise PickleRefused("an array with missing parts")
            _, shape, dtype, is_fortran, content = state
            target.value = _make_array(shape, dtype, bool(is_fortran), content)
        else:
            raise PickleRefused("it sets the state of something that is no array")


def _make_array(shape: Any, dtype: Any, is_fortran: bool, content: Any) -> np.ndarray:
    """Array over `content`, whose length must be exactly what `shape` and type say."""
    if not isinstance(dtype, _Dtype) or not isinstance(content, bytes):
        raise PickleRefused("an array with missing parts")
    if (
        not isinstance(shape, tuple)
        or len(shape) > MAX_DIMENSIONS
        or not all(isinstance(size, int) and size >= 0 for size in shape)
    ):
        raise PickleRefused("an array of impossible shape")
    kind = np.dtype(dtype.code).newbyteorder(dtype.byte_order)
    if math.prod(shape) * kind.itemsize != len(content):
        raise PickleRefused(
            f"an array of shape {str(shape)[:60]} with {len(content):,} bytes of content"
        )
    flat = np.frombuffer(content, kind)
    return flat.reshape(shape, order="F" if is_fortran else "C")

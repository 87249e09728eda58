"""Reads and writes `.safetensors`: a header in JSON, then the tensors' bytes.

Reference: https://huggingface.co/docs/safetensors, "Format".
"""

import json
import math
import pathlib
import struct
from collections.abc import Mapping
from typing import Any, BinaryIO, NamedTuple, NoReturn

import numpy as np

from trainer.weights import tensors
from trainer.weights.tensors import ElementType, Refused, Tensors, shown

KIND = "safetensors"
METADATA = "__metadata__"
LENGTH_BYTES = 8
# JSON takes up to twenty times its length in memory, so this and a small share of the file
# limit the header.
HEADER_BYTES = 2**18
HEADER_SHARE = 1 / 64
_ALIGNMENT_BYTES = 8
_TYPES = {
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "F64": "float64",
    "I64": "int64",
}


class _Entry(NamedTuple):
    name: str
    kind: ElementType
    shape: tuple[int, ...]
    begin: int
    end: int


def read(path: pathlib.Path) -> Tensors:
    """Tensors in `path` by name, without the metadata of the header.

    Raises:
      ConfigError: the header is not strict JSON, or does not match the bytes of the file.
    """
    with tensors.refusing(path, KIND), path.open("rb") as file:
        size = path.stat().st_size
        entries, start = _read_header(file, size)
        tensors.check_total(((entry.kind, entry.shape) for entry in entries), size)
        found = {}
        for entry in entries:
            file.seek(start + entry.begin)
            found[entry.name] = tensors.read_array(file, entry.kind, entry.shape)
        return found


def write(file: BinaryIO, arrays: Mapping[str, np.ndarray]) -> None:
    """Writes arrays in the order of their names.

    Args:
      file: new, open for bytes.
      arrays: float32, float16, float64 or int64.
    """
    header: dict[str, Any] = {}
    at = 0
    codes = {name: code for code, name in _TYPES.items()}
    for name in sorted(arrays):
        array = arrays[name]
        header[name] = {
            "dtype": codes[array.dtype.name],
            "shape": list(array.shape),
            "data_offsets": [at, at + array.nbytes],
        }
        at += array.nbytes
    text = json.dumps(header, separators=(",", ":")).encode("utf-8")
    text += b" " * (-len(text) % _ALIGNMENT_BYTES)
    file.write(struct.pack("<Q", len(text)) + text)
    for name in sorted(arrays):
        array = arrays[name]
        little = array.astype(array.dtype.newbyteorder("<"), copy=False)
        file.write(np.ascontiguousarray(little).reshape(-1).view(np.uint8).data)


def _read_header(file: BinaryIO, size: int) -> tuple[list[_Entry], int]:
    """Entries in the order of their bytes, and where the bytes of tensors begin."""
    prefix = file.read(LENGTH_BYTES)
    length = int.from_bytes(prefix, "little")
    limit = int(HEADER_BYTES + HEADER_SHARE * size)
    if len(prefix) < LENGTH_BYTES or length > size - LENGTH_BYTES:
        raise Refused(f"its header of {length:,} bytes is longer than the file")
    if length > limit:
        raise Refused(f"its header has {length:,} bytes, more than {limit:,}")
    header = _parse(file.read(length))
    entries = [
        _entry(name, value) for name, value in header.items() if name != METADATA
    ]
    if not entries:
        raise Refused("it holds no tensors")
    entries.sort(key=lambda entry: (entry.begin, entry.end))
    at = 0
    for entry in entries:
        if entry.begin != at:
            what = "overlaps" if entry.begin < at else "leaves a hole behind"
            raise Refused(f"the tensor {shown(entry.name)} {what} the one before it")
        at = entry.end
    if at != size - length - LENGTH_BYTES:
        raise Refused(
            f"its tensors take {at:,} bytes, the file has"
            f" {size - length - LENGTH_BYTES:,} for them"
        )
    return entries, LENGTH_BYTES + length


def _parse(text: bytes) -> dict[str, Any]:
    try:
        header = json.loads(
            text.decode("utf-8"),
            object_pairs_hook=_without_duplicates,
            parse_constant=_refuse_constant,
        )
    except (ValueError, RecursionError) as error:
        if isinstance(error, Refused):
            raise
        raise Refused("its header is not JSON") from error
    if not text.startswith(b"{") or not isinstance(header, dict):
        raise Refused("its header is not a JSON object")
    return header


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise Refused("its header says something twice")
    return found


def _refuse_constant(constant: str) -> NoReturn:
    raise Refused(f"its header holds {constant}")


def _entry(name: str, value: Any) -> _Entry:
    parts = ("dtype", "shape", "data_offsets")
    if not isinstance(value, dict) or value.keys() != set(parts):
        raise Refused(
            f"the header's entry {shown(name)} has other parts than a tensor's"
        )
    code, shape, offsets = (value[part] for part in parts)
    if not isinstance(code, str) or not isinstance(shape, list):
        raise Refused(f"the tensor {shown(name)} has no type or shape")
    kind = tensors.read_type(_TYPES.get(code, shown(code)), name)
    sizes = tensors.check_shape(shape, name)
    if (
        not isinstance(offsets, list)
        or len(offsets) != 2
        or any(type(offset) is not int or offset < 0 for offset in offsets)
    ):
        raise Refused(f"the tensor {shown(name)} has impossible offsets")
    begin, end = offsets
    expected_bytes = math.prod(sizes) * kind.size
    if end - begin != expected_bytes:
        raise Refused(
            f"the tensor {shown(name)} of {expected_bytes:,} bytes lies in"
            f" {end - begin:,}"
        )
    if 0 in sizes:
        raise Refused(f"the tensor {shown(name)} has no elements")
    return _Entry(name, kind, sizes, begin, end)

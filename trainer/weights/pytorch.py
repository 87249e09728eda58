"""Reads PyTorch's state dicts (`torch.save`) without PyTorch and without unpickling.

It reads both forms: the zip of PyTorch 1.6 and later (`data.pkl` and `data/0`, `data/1`,
...), and the older one of five pickles in a row and the storages behind them. A tensor is a
view on a storage: offset, sizes and strides are checked against it before anything is read.
`common.pickles` interprets the opcodes.

Reference: torch/serialization.py of PyTorch 1.4 (`_legacy_save`) and 2.x (`_save`).
"""

import contextlib
import dataclasses
import pathlib
import struct
import zipfile
import zlib
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO

import numpy as np

from common.pickles import (
    Name,
    PickleRefused,
    Reader,
    UnknownName,
    Vocabulary,
    refuse_kind,
    text,
)
from trainer.weights import tensors
from trainer.weights.tensors import Refused, Tensors, shown

KIND = "a PyTorch state dict"
# First bytes of the two forms: a local file of a zip; the pickle of a number, by protocol 2.
ZIP_MAGIC = b"PK\x03\x04"
MAGIC_NUMBER = 0x1950A86A20F9469CFC6C
LEGACY_MAGIC = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."
LEGACY_PROTOCOL = 1001
DATA_PARALLEL = "module."

_ADVICE = "; a state dict alone is read: torch.save(model.state_dict(), ...)"
_ORDERED_DICT = ("collections", "OrderedDict")
_TENSOR = ("torch._utils", "_rebuild_tensor_v2")
_PARAMETER = ("torch._utils", "_rebuild_parameter")
_SIZE = ("torch", "Size")
# Storage class -> type and bytes of an element.
_STORAGES = {
    "FloatStorage": ("float32", 4),
    "HalfStorage": ("float16", 2),
    "BFloat16Storage": ("bfloat16", 2),
    "DoubleStorage": ("float64", 8),
    "LongStorage": ("int64", 8),
    "IntStorage": ("int32", 4),
    "ShortStorage": ("int16", 2),
    "CharStorage": ("int8", 1),
    "ByteStorage": ("uint8", 1),
    "BoolStorage": ("bool", 1),
    "ComplexFloatStorage": ("complex64", 8),
    "ComplexDoubleStorage": ("complex128", 16),
}
# Memory of an entry in the directory of a zip, and its smallest size in the file.
_ENTRY_BYTES = 1200
_ENTRY_FILE_BYTES = 46
_ZIP_ERRORS = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    NotImplementedError,
    OverflowError,
    RuntimeError,
    UnicodeError,
    ValueError,
)


@dataclasses.dataclass(frozen=True, slots=True)
class _Storage:
    key: str
    kind: str
    element_bytes: int
    count: int


@dataclasses.dataclass(frozen=True, slots=True)
class _Tensor:
    """A view on a storage, in elements."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def read(path: pathlib.Path) -> Tensors:
    """Tensors of the state dict in `path`, by name.

    In a dictionary such as {'epoch': 9, 'state_dict': {...}} it finds the one part with
    tensors. `module.` in front of all names (DataParallel) is removed.

    Raises:
      ConfigError: the file is not a state dict alone, contradicts itself, ends early, or
        would take more than twice its size in memory.
    """
    with tensors.refusing(path, KIND), path.open("rb") as file:
        size = path.stat().st_size
        try:
            if file.read(len(ZIP_MAGIC)) == ZIP_MAGIC:
                found = _read_zip(file, size)
            else:
                found = _read_legacy(file, size)
        except PickleRefused as error:
            advice = _ADVICE if isinstance(error, UnknownName) else ""
            raise Refused(f"{error}{advice}") from error
        except RecursionError as error:
            raise Refused("it is nested too deeply") from error
    if all(name.startswith(DATA_PARALLEL) for name in found):
        return {name.removeprefix(DATA_PARALLEL): found[name] for name in found}
    return found


def is_state_dict(path: pathlib.Path) -> bool:
    """Whether the zip `path` has the parts of one; a damaged zip counts as one."""
    try:
        with path.open("rb") as file:
            _check_directory(file, path.stat().st_size)
            with zipfile.ZipFile(file) as archive:
                names = archive.namelist()
    except (Refused, OSError, *_ZIP_ERRORS):
        return True
    return any(name.endswith("/data.pkl") for name in names)


class _StateDict(Vocabulary):
    """The names in a state dict: dictionaries, tensors and storages."""

    names = frozenset(
        {_ORDERED_DICT, _TENSOR, _PARAMETER, _SIZE}
        | {("torch", name) for name in _STORAGES}
    )

    def __init__(self, file_bytes: int) -> None:
        self._file_bytes = file_bytes
        self.storages: dict[str, _Storage] = {}

    def key(self, value: Any) -> Any:
        """See base class; optimizers number their parameters."""
        return value if type(value) is int else text(value)

    def call(self, function: Name, arguments: tuple[Any, ...]) -> Any:
        """See base class."""
        if function == _ORDERED_DICT and not arguments:
            return {}
        if function == _TENSOR and len(arguments) in (6, 7):
            return _make_tensor(*arguments[:4])
        if function == _PARAMETER and len(arguments) == 3:
            if not isinstance(arguments[0], _Tensor):
                refuse_kind(arguments[0], "a tensor")
            return arguments[0]
        if function == _SIZE and len(arguments) == 1:
            if not isinstance(arguments[0], tuple):
                refuse_kind(arguments[0], "a shape")
            return arguments[0]
        raise PickleRefused(f"it calls {function} with {len(arguments)} arguments")

    def build(self, target: Any, state: Any) -> None:
        """Leaves out the attributes of a state dict: versions of its layers."""
        if not isinstance(target, dict) or not isinstance(state, dict):
            super().build(target, state)

    def persistent(self, key: Any) -> Any:
        """The storage of a key ('storage', class, name, device, elements)."""
        if not isinstance(key, tuple) or len(key) not in (5, 6) or key[0] != "storage":
            raise PickleRefused("it refers to something that is no storage")
        kind, name, count = key[1], text(key[2]), key[4]
        if len(key) == 6 and key[5] is not None:
            raise PickleRefused("a storage that is part of another one")
        if not isinstance(kind, Name) or kind.name not in _STORAGES:
            raise PickleRefused("a storage of unknown type")
        type_name, element_bytes = _STORAGES[kind.name]
        # Entries of a zip may be deflated; all that is read is limited alike.
        limit = 2 * self._file_bytes
        if type(count) is not int or not 0 <= count * element_bytes <= limit:
            raise PickleRefused(f"the storage {shown(name)} is larger than the file")
        storage = _Storage(name, type_name, element_bytes, count)
        if self.storages.setdefault(name, storage) != storage:
            raise PickleRefused(f"the storage {shown(name)} is described twice")
        return self.storages[name]


def _make_tensor(storage: Any, offset: Any, shape: Any, strides: Any) -> _Tensor:
    if not isinstance(storage, _Storage):
        refuse_kind(storage, "a storage")
    if not (isinstance(shape, tuple) and isinstance(strides, tuple)):
        raise PickleRefused("a tensor without a shape")
    if len(shape) != len(strides) or len(shape) > tensors.MAX_DIMENSIONS:
        raise PickleRefused(f"a tensor of {len(shape)} sizes, {len(strides)} strides")
    for number in (offset, *shape, *strides):
        if type(number) is not int or not 0 <= number < 2**63:
            raise PickleRefused(
                "a tensor whose offset, sizes or strides are impossible"
            )
    if 0 in shape:
        raise PickleRefused("a tensor without elements")
    # Each axis must step over all that the finer ones reach: no element is there twice.
    reach = 1
    for stride, size in sorted(zip(strides, shape, strict=True)):
        if size > 1:
            if stride < reach:
                raise PickleRefused("a tensor that holds elements of its storage twice")
            reach += (size - 1) * stride
    if offset + reach > storage.count:
        raise PickleRefused(
            f"a tensor of {offset + reach:,} elements on a storage of {storage.count:,}"
        )
    return _Tensor(storage, offset, shape, strides)


def _allowance(file_bytes: int) -> int:
    return tensors.SLACK_BYTES + file_bytes // 16


def _read_legacy(file: BinaryIO, size: int) -> Tensors:
    file.seek(0)
    plain = Vocabulary()
    if Reader(file, size, plain, 2**16).run() != MAGIC_NUMBER:
        raise Refused("it does not begin with PyTorch's magic number")
    if Reader(file, size, plain, 2**16).run() != LEGACY_PROTOCOL:
        raise Refused(f"its protocol is not {LEGACY_PROTOCOL}")
    Reader(file, size, plain, 2**16).run()  # sizes of types on the writer's machine
    vocabulary = _StateDict(size)
    reader = Reader(file, size, vocabulary, _allowance(size))
    chosen = _state_dict(reader.run())
    keys = Reader(file, size, plain, reader.left_bytes).run()
    storages = vocabulary.storages
    if (
        not isinstance(keys, list)
        or not all(isinstance(key, str) for key in keys)
        or sorted(keys) != sorted(storages)
    ):
        raise Refused("its list of storages is not that of its tensors")
    places, at = {}, file.tell()
    for key in keys:
        storage = storages[key]
        file.seek(at)
        count = int.from_bytes(file.read(8), "little", signed=True)
        if count != storage.count:
            raise Refused(
                f"the storage {shown(key)} holds {count:,} elements, its tensors say"
                f" {storage.count:,}"
            )
        places[key] = at + 8
        at += 8 + storage.count * storage.element_bytes
    if at != size:
        raise Refused(f"its storages end at byte {at:,}, the file at {size:,}")

    def open_storage(key: str) -> contextlib.AbstractContextManager[BinaryIO]:
        file.seek(places[key])
        return contextlib.nullcontext(file)

    # Storages are little-endian on every machine.
    return _materialise(chosen, open_storage, size, is_big_endian=False)


def _read_zip(file: BinaryIO, size: int) -> Tensors:
    _check_directory(file, size)
    try:
        with zipfile.ZipFile(file) as archive:
            infos = _entries(archive)
            prefix = _prefix(infos)
            with archive.open(infos[f"{prefix}data.pkl"]) as stream:
                vocabulary = _StateDict(size)
                length = infos[f"{prefix}data.pkl"].file_size
                reader = Reader(stream, length, vocabulary, _allowance(size))  # type: ignore[arg-type]
                chosen = _state_dict(reader.run())
            for key, storage in vocabulary.storages.items():
                info = infos.get(f"{prefix}data/{key}")
                if info is None:
                    raise Refused(f"it has no entry for the storage {shown(key)}")
                if info.file_size != storage.count * storage.element_bytes:
                    raise Refused(
                        f"the storage {shown(key)} has {info.file_size:,} bytes, its"
                        f" tensors say {storage.count * storage.element_bytes:,}"
                    )
            order = "little"
            if info := infos.get(f"{prefix}byteorder"):
                with archive.open(info) as stream:
                    order = stream.read(8).decode("latin-1")
            if order not in ("little", "big"):
                raise Refused(f"its byte order is {shown(order)}")
            return _materialise(
                chosen,
                lambda key: archive.open(infos[f"{prefix}data/{key}"]),  # type: ignore[arg-type,return-value]
                size,
                is_big_endian=order == "big",
            )
    except (Refused, PickleRefused):
        raise
    except _ZIP_ERRORS as error:
        raise Refused(f"its zip is damaged ({error})") from error


def _check_directory(file: BinaryIO, size: int) -> None:
    """Refuses a zip whose directory alone would take more memory than is allowed.

    The directory must end with the file, so that `zipfile` finds the same one.
    """
    end, locator, end_64 = 22, 20, 56
    file.seek(max(0, size - end - locator - end_64))
    tail = file.read()
    if tail[-end:-18] != b"PK\x05\x06" or tail[-2:] != b"\0\0":
        raise Refused("its zip has no directory at its end: the file is not complete")
    directory_bytes = int.from_bytes(tail[-10:-6], "little")
    before = tail[:-end]
    if before[-locator:].startswith(b"PK\x06\x07"):
        directory_bytes = int.from_bytes(before[-locator - 16 : -locator - 8], "little")
    if directory_bytes // _ENTRY_FILE_BYTES * _ENTRY_BYTES > _allowance(size):
        raise Refused(f"its directory has {directory_bytes:,} bytes")
    file.seek(0)


def _entries(archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    infos: dict[str, zipfile.ZipInfo] = {}
    for info in archive.infolist():
        name = info.filename
        if name in infos:
            raise Refused(f"its zip has two entries {shown(name)}")
        if name.startswith("/") or "\\" in name or ".." in name.split("/"):
            raise Refused(f"its zip has an entry {shown(name)}")
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise Refused(f"the entry {shown(name)} is neither stored nor deflated")
        infos[name] = info
    return infos


def _prefix(infos: Mapping[str, zipfile.ZipInfo]) -> str:
    """Name of the folder in the zip, with its slash."""
    found = [
        name for name in infos if name.count("/") == 1 and name.endswith("/data.pkl")
    ]
    if len(found) != 1:
        raise Refused("it is a zip without PyTorch's data.pkl")
    prefix = found[0].removesuffix("data.pkl")
    if f"{prefix}constants.pkl" in infos:
        raise Refused(f"it is a TorchScript program{_ADVICE}")
    return prefix


def _state_dict(value: Any) -> dict[str, _Tensor]:
    """The one dictionary of tensors in what was saved."""
    if not isinstance(value, dict):
        raise PickleRefused(f"it holds a {type(value).__name__}, not a dictionary")
    with_tensors = {
        key: found
        for key, part in (("", value), *value.items())
        if isinstance(part, dict) and (found := _tensors_of(part))
    }
    if len(with_tensors) == 1:
        return next(iter(with_tensors.values()))
    if not with_tensors:
        raise Refused(f"it holds no tensors (keys: {_listed(value)})")
    raise Refused(
        f"it holds several state dicts ({_listed(with_tensors)}); save one of them alone"
    )


def _tensors_of(part: Mapping[Any, Any]) -> dict[str, _Tensor]:
    return {
        key: value
        for key, value in part.items()
        if isinstance(key, str) and isinstance(value, _Tensor)
    }


def _listed(keys: Mapping[Any, Any], at_most: int = 8) -> str:
    names = [shown(str(key)) if key != "" else "the file itself" for key in keys]
    return ", ".join(names[:at_most]) + (", ..." if len(names) > at_most else "")


def _materialise(
    chosen: Mapping[str, _Tensor],
    open_storage: Callable[[str], contextlib.AbstractContextManager[BinaryIO]],
    size: int,
    *,
    is_big_endian: bool,
) -> Tensors:
    """Reads one storage after another, of each only what its tensors need."""
    kinds = {
        name: tensors.read_type(tensor.storage.kind, name)
        for name, tensor in chosen.items()
    }
    tensors.check_total(
        ((kinds[name], tensor.shape) for name, tensor in chosen.items()), size
    )
    by_storage: dict[str, list[str]] = {}
    for name, tensor in chosen.items():
        by_storage.setdefault(tensor.storage.key, []).append(name)
    found: Tensors = {}
    for key, names in by_storage.items():
        kind, first = kinds[names[0]], chosen[names[0]]
        with open_storage(key) as file:
            if len(names) == 1 and _is_contiguous(first):
                tensors.skip(file, first.offset * kind.size)
                found[names[0]] = tensors.read_array(
                    file, kind, first.shape, is_big_endian=is_big_endian
                )
                continue
            whole = tensors.read_array(
                file, kind, (first.storage.count,), is_big_endian=is_big_endian
            )
        for name in names:
            tensor = chosen[name]
            strides = tuple(stride * whole.itemsize for stride in tensor.strides)
            # `_make_tensor` has checked that the view is within its storage.
            view = np.lib.stride_tricks.as_strided(
                whole[tensor.offset :], tensor.shape, strides, writeable=False
            )
            found[name] = view.copy()
    return {name: found[name] for name in chosen}


def _is_contiguous(tensor: _Tensor) -> bool:
    expected = 1
    for size, stride in zip(tensor.shape[::-1], tensor.strides[::-1], strict=True):
        if size > 1 and stride != expected:
            return False
        expected *= size
    return True

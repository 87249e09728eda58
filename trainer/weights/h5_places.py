"""Finds the tensors in an HDF5 file: `python -m trainer.weights.h5_places FILE`.

The HDF5 library loops, crashes or allocates without bound on damaged files, so it runs in a
process of its own with limited memory and time (`trainer.weights.keras_h5`). Prints one JSON
object: `places` and `layers`, or `refused` with a sentence.
"""

import contextlib
import json
import math
import pathlib
import resource
import sys
from collections.abc import Iterator

import h5py
import numpy as np

from trainer.weights import tensors
from trainer.weights.tensors import Place, Refused, shown

MAX_DEPTH = 12
MAX_NAME_BYTES = 512
# Of all paths together: groups within groups repeat the names above them.
PATHS_BYTES = 2**20
_MODEL = "model_weights"
# Groups of a file that belong to no layer of the net.
_NOT_WEIGHTS = ("optimizer", "optimizer_weights")
_TYPES = {
    "float16": (h5py.h5t.IEEE_F16LE, h5py.h5t.IEEE_F16BE),
    "float32": (h5py.h5t.IEEE_F32LE, h5py.h5t.IEEE_F32BE),
    "float64": (h5py.h5t.IEEE_F64LE, h5py.h5t.IEEE_F64BE),
    "int64": (h5py.h5t.STD_I64LE, h5py.h5t.STD_I64BE),
}
_ERRORS = (
    OSError,
    RuntimeError,
    KeyError,
    ValueError,
    TypeError,
    OverflowError,
    SystemError,
    MemoryError,
)


def main(path: pathlib.Path) -> None:
    """Prints the places in a file, or why it is refused."""
    try:
        size = path.stat().st_size
        _limit_memory(2 * size + tensors.SLACK_BYTES)
        places, layers = look(path, size)
        print(json.dumps({"places": places, "layers": layers}))
    except Refused as error:
        print(json.dumps({"refused": str(error)}))
    except _ERRORS as error:
        reason = str(error).strip("'\"") or type(error).__name__
        print(json.dumps({"refused": f"it is damaged ({reason})"}))


def _limit_memory(more_bytes: int) -> None:
    """Limits the memory of this process to what it has now and `more_bytes`."""
    statm = pathlib.Path("/proc/self/statm")
    with contextlib.suppress(OSError, ValueError):
        now = int(statm.read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (now + more_bytes, now + more_bytes))


def look(path: pathlib.Path, size: int) -> tuple[list[Place], dict[str, str]]:
    """All datasets below the layers, and names of layers by the path of their `vars`."""
    access = h5py.h5p.create(h5py.h5p.FILE_ACCESS)
    access.set_fapl_sec2()
    access.set_file_locking(False, True)
    file = h5py.h5f.open(bytes(path), h5py.h5f.ACC_RDONLY, access)
    try:
        places: list[Place] = []
        layers: dict[str, str] = {}
        root = h5py.h5g.open(file, b"/")
        if _MODEL in _link_names(root):
            _check_link(root, _MODEL)
            root = h5py.h5g.open(root, _MODEL.encode())
        left = PATHS_BYTES + size // 16
        for below, item in _walk(root, "", {_address(root)}):
            left -= len(below)
            if left < 0:
                raise Refused("the paths of its tensors are too long")
            if isinstance(item, h5py.h5d.DatasetID):
                places.append(_place(below, item))
            elif below.endswith("/vars"):
                layer = _layer_name(item)
                if layer:
                    layers[below] = layer
        return places, layers
    finally:
        file.close()


def _walk(
    group: h5py.h5g.GroupID, path: str, seen: set[int], depth: int = 0
) -> Iterator[tuple[str, h5py.h5g.GroupID | h5py.h5d.DatasetID]]:
    if depth > MAX_DEPTH:
        raise Refused("its groups are nested too deeply")
    for name in _link_names(group):
        if not path and name in _NOT_WEIGHTS:
            continue
        below = f"{path}/{name}" if path else name
        _check_link(group, name)
        item = h5py.h5o.open(group, name.encode("utf-8", "surrogateescape"))
        address = _address(item)
        if address in seen:
            raise Refused(f"{shown(below)} is in it under two names")
        seen.add(address)
        if isinstance(item, h5py.h5g.GroupID):
            yield below, item
            yield from _walk(item, below, seen, depth + 1)
        elif isinstance(item, h5py.h5d.DatasetID):
            yield below, item
        else:
            raise Refused(f"{shown(below)} is neither a group nor a tensor")


def _link_names(group: h5py.h5g.GroupID) -> list[str]:
    names: list[str] = []

    def add(name: bytes) -> None:
        if len(name) > MAX_NAME_BYTES:
            raise Refused(f"a name of {len(name):,} bytes")
        names.append(name.decode("utf-8", "surrogateescape"))

    group.links.iterate(add)
    return names


def _check_link(group: h5py.h5g.GroupID, name: str) -> None:
    info = group.links.get_info(name.encode("utf-8", "surrogateescape"))
    if info.type != h5py.h5l.TYPE_HARD:
        raise Refused(f"{shown(name)} is a link to another place")


def _address(item: h5py.h5g.GroupID | h5py.h5d.DatasetID) -> int:
    return h5py.h5o.get_info(item).addr


def _layer_name(group: h5py.h5g.GroupID) -> str:
    """The attribute `name` of a group, '' where there is none."""
    if not h5py.h5a.exists(group, b"name"):
        return ""
    attribute = h5py.h5a.open(group, b"name")
    kind = attribute.get_type()
    if (
        kind.get_class() != h5py.h5t.STRING
        or attribute.get_space().get_simple_extent_npoints() != 1
        or not (kind.is_variable_str() or kind.get_size() <= MAX_NAME_BYTES)
    ):
        raise Refused("the name of a layer is no text")
    value = np.empty((), dtype=attribute.dtype)
    attribute.read(value)
    name = value.item()
    text = name.decode("utf-8") if isinstance(name, bytes) else str(name)
    if not 0 < len(text) <= MAX_NAME_BYTES or "/" in text:
        raise Refused(f"a layer is called {shown(text)}")
    return text


def _place(path: str, data: h5py.h5d.DatasetID) -> Place:
    created = data.get_create_plist()
    if (
        created.get_layout() != h5py.h5d.CONTIGUOUS
        or created.get_nfilters()
        or created.get_external_count()
    ):
        raise Refused(
            f"the tensor {shown(path)} is not in one piece: chunked, compressed, virtual"
            " or in another file"
        )
    type_name, is_big_endian = _type(path, data.get_type())
    space = data.get_space()
    if space.get_simple_extent_type() == h5py.h5s.NULL:
        raise Refused(f"the tensor {shown(path)} has no elements")
    shape = tensors.check_shape(
        tuple(int(length) for length in space.get_simple_extent_dims()), path
    )
    expected_bytes = math.prod(shape) * tensors.READ_TYPES[type_name].size
    offset, size = data.get_offset(), data.get_storage_size()
    if not expected_bytes or offset is None or size != expected_bytes:
        raise Refused(
            f"the tensor {shown(path)} of {expected_bytes:,} bytes has"
            f" {0 if offset is None else size:,} in the file"
        )
    return Place(path, type_name, is_big_endian, shape, offset, size)


def _type(path: str, kind: h5py.h5t.TypeID) -> tuple[str, bool]:
    if kind.get_class() in (h5py.h5t.FLOAT, h5py.h5t.INTEGER):
        for name, (little, big) in _TYPES.items():
            if kind.equal(little) or kind.equal(big):
                return name, not kind.equal(little)
    raise Refused(
        f"the tensor {shown(path)} is of another type than {', '.join(_TYPES)}"
    )


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))

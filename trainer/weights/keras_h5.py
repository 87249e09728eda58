"""Reads the weights of Keras models from HDF5 files.

Two forms are read. Keras 2's `.h5`, of a model or of its weights alone, names a group for
each layer and its weights below: `conv1/conv1/kernel:0`. The `.weights.h5` of Keras 3 has
`layers/conv2d_7/vars/0`, and the name of the layer as an attribute of `vars`; without that
attribute (tf_keras, early Keras 3) nothing in the file tells which layer it is.

h5py is asked where the tensors lie, and nothing else: their bytes are read from the file
itself. What Keras does not write is refused: links to other places, external, virtual,
chunked or compressed data, and types other than numbers.

Reference: keras/src/saving/saving_lib.py and legacy/saving/legacy_h5_format.py of
Keras 3.15.
"""

import math
import pathlib
import re
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

import h5py
import numpy as np

from trainer.weights import tensors
from trainer.weights.tensors import ElementType, Refused, Tensors, shown

KIND = "Keras weights"
MAX_DEPTH = 12
MAX_NAME_BYTES = 512
# Groups of a file that belong to no layer of the net.
_NOT_WEIGHTS = ("optimizer", "optimizer_weights")
_MODEL = "model_weights"
_FLOATS = {
    "float16": (h5py.h5t.IEEE_F16LE, h5py.h5t.IEEE_F16BE),
    "float32": (h5py.h5t.IEEE_F32LE, h5py.h5t.IEEE_F32BE),
    "float64": (h5py.h5t.IEEE_F64LE, h5py.h5t.IEEE_F64BE),
    "int64": (h5py.h5t.STD_I64LE, h5py.h5t.STD_I64BE),
}
# Keras 3: what the numbered variables of a layer are, by its class and how many they are.
# Batch norm with three has no gamma: in Keras's own nets none lacks the beta.
_NORM = ("gamma", "beta", "moving_mean", "moving_variance")
_VARIABLES: dict[str, dict[int, tuple[str, ...]]] = {
    "batch_normalization": {3: _NORM[1:], 4: _NORM},
    "conv2d": {1: ("kernel",), 2: ("kernel", "bias")},
    "dense": {1: ("kernel",), 2: ("kernel", "bias")},
    "depthwise_conv2d": {1: ("depthwise_kernel",), 2: ("depthwise_kernel", "bias")},
    "separable_conv2d": {
        2: ("depthwise_kernel", "pointwise_kernel"),
        3: ("depthwise_kernel", "pointwise_kernel", "bias"),
    },
    "normalization": {3: ("mean", "variance", "count")},
}
_NUMBERED = re.compile(r"(?:.*/)?(?P<layer>[^/]+)/vars/(?P<place>\d+)")
# Keras 1 wrote 'block1_conv1_W_1:0'.
_KERAS_1 = re.compile(r".*_(?P<kind>[Wb])(_\d+)?")
_KERAS_1_KINDS = {"W": "kernel", "b": "bias"}
_H5_ERRORS = (
    OSError,
    RuntimeError,
    KeyError,
    ValueError,
    TypeError,
    OverflowError,
    UnicodeError,
    MemoryError,
)


class _Place(NamedTuple):
    """Where the bytes of a dataset lie."""

    path: str
    kind: ElementType
    is_big_endian: bool
    shape: tuple[int, ...]
    offset: int
    size: int


def read(path: pathlib.Path) -> Tensors:
    """Tensors in `path` as '<layer>/<kind>', as in 'conv1/kernel' or 'bn1/moving_mean'.

    Raises:
      ConfigError: the file holds more than plain tensors, contradicts itself, or does not
        say which layer its tensors belong to.
    """
    with tensors.refusing(path, KIND):
        size = path.stat().st_size
        try:
            places, layers = _look(path, size)
        except Refused:
            raise
        except _H5_ERRORS as error:
            reason = str(error).strip("'\"") or type(error).__name__
            raise Refused(f"it is damaged ({reason})") from error
        _check(places, size)
        names = _names(places, layers)
        found: Tensors = {}
        with path.open("rb") as file:
            for place in places:
                found[names[place.path]] = _read_place(file, place)
        return found


def _read_place(file: BinaryIO, place: _Place) -> np.ndarray:
    file.seek(place.offset)
    return tensors.read_array(
        file, place.kind, place.shape, is_big_endian=place.is_big_endian
    )


def _look(path: pathlib.Path, size: int) -> tuple[list[_Place], dict[str, str]]:
    """All datasets below the layers, and names of layers by path of their `vars`."""
    access = h5py.h5p.create(h5py.h5p.FILE_ACCESS)
    access.set_fapl_sec2()
    access.set_file_locking(False, True)
    file = h5py.h5f.open(bytes(path), h5py.h5f.ACC_RDONLY, access)
    try:
        places: list[_Place] = []
        layers: dict[str, str] = {}
        root = h5py.h5g.open(file, b"/")
        if _MODEL in _link_names(root):
            _check_link(root, _MODEL)
            root = h5py.h5g.open(root, _MODEL.encode())
        for below, item in _walk(root, "", {_address(root)}, size):
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
    group: h5py.h5g.GroupID, path: str, seen: set[int], size: int, depth: int = 0
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
            yield from _walk(item, below, seen, size, depth + 1)
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


def _place(path: str, data: h5py.h5d.DatasetID) -> _Place:
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
    kind, is_big_endian = _type(path, data.get_type())
    space = data.get_space()
    if space.get_simple_extent_type() == h5py.h5s.NULL:
        raise Refused(f"the tensor {shown(path)} has no elements")
    shape = tensors.check_shape(
        tuple(int(length) for length in space.get_simple_extent_dims()), path
    )
    expected_bytes = math.prod(shape) * kind.size
    offset, size = data.get_offset(), data.get_storage_size()
    if not expected_bytes or offset is None or size != expected_bytes:
        raise Refused(
            f"the tensor {shown(path)} of {expected_bytes:,} bytes has"
            f" {0 if offset is None else size:,} in the file"
        )
    return _Place(path, kind, is_big_endian, shape, offset, size)


def _type(path: str, kind: h5py.h5t.TypeID) -> tuple[ElementType, bool]:
    if kind.get_class() in (h5py.h5t.FLOAT, h5py.h5t.INTEGER):
        for name, (little, big) in _FLOATS.items():
            if kind.equal(little) or kind.equal(big):
                return tensors.read_type(name, path), not kind.equal(little)
    raise Refused(
        f"the tensor {shown(path)} is of another type than {', '.join(_FLOATS)}"
    )


def _check(places: list[_Place], size: int) -> None:
    """Refuses tensors that overlap or pass the end of the file."""
    if not places:
        raise Refused("it holds no tensors")
    end = 0
    for place in sorted(places, key=lambda place: place.offset):
        if place.offset < end:
            raise Refused(f"the tensor {shown(place.path)} overlaps another one")
        end = place.offset + place.size
    if end > size:
        raise Refused(f"its tensors end at byte {end:,}, the file at {size:,}")
    tensors.check_total(
        sum(math.prod(p.shape) * np.dtype(p.kind.dtype).itemsize for p in places), size
    )


def _names(places: list[_Place], layers: dict[str, str]) -> dict[str, str]:
    """'<layer>/<kind>' by path of a dataset."""
    counts: dict[str, int] = {}
    for place in places:
        folder = place.path.rpartition("/")[0]
        counts[folder] = counts.get(folder, 0) + 1
    names: dict[str, str] = {}
    known: set[str] = set()
    for place in places:
        folder, _, last = place.path.rpartition("/")
        numbered = _NUMBERED.fullmatch(place.path)
        if numbered is None:
            name = _named(place.path)
        else:
            if folder not in layers:
                raise Refused(
                    "it does not say which layers its tensors belong to, as tf_keras and"
                    " early Keras 3 write it; save the model as '.h5' instead"
                )
            kind = _numbered_kind(numbered["layer"], counts[folder], int(last))
            name = f"{layers[folder]}/{kind}"
        if name in known:
            raise Refused(f"it holds {shown(name)} twice")
        known.add(name)
        names[place.path] = name
    return names


def _named(path: str) -> str:
    """'conv1/kernel' of 'conv1/conv1/kernel:0'."""
    layer, _, rest = path.partition("/")
    last = rest.rpartition("/")[2].removesuffix(":0")
    old = _KERAS_1.fullmatch(last)
    if old and last.startswith(layer):
        last = _KERAS_1_KINDS[old["kind"]]
    if not last:
        raise Refused(f"the tensor {shown(path)} belongs to no layer")
    return f"{layer}/{last}"


def _numbered_kind(layer: str, count: int, place: int) -> str:
    kind = re.sub(r"_\d+$", "", layer)
    kinds = _VARIABLES.get(kind, {}).get(count, ())
    if place >= len(kinds):
        raise Refused(f"a layer {shown(kind)} of {count} variables is not known")
    return kinds[place]

"""Writers of PyTorch's two forms, by Python's own pickle and without PyTorch."""

import collections
import io
import pickle
import struct
import sys
import types
import zipfile

import numpy as np
import pytest

MAGIC_NUMBER = 0x1950A86A20F9469CFC6C
CLASSES = {
    "float32": "FloatStorage",
    "float16": "HalfStorage",
    "float64": "DoubleStorage",
    "int64": "LongStorage",
    "int32": "IntStorage",
    "uint8": "ByteStorage",
    "bool": "BoolStorage",
    "bfloat16": "BFloat16Storage",
}


def bfloat16(array):
    """The upper halves of float32."""
    return (np.ascontiguousarray(array, np.float32).view(np.uint32) >> 16).astype("<u2")


class Storage:
    """Elements behind tensors; `kind` is their type, `raw` an array in one dimension."""

    def __init__(self, key, kind, raw):
        self.key, self.kind, self.raw = key, kind, raw


class Tensor:
    """A view on a storage, as `torch.Tensor` pickles itself."""

    def __init__(self, storage, offset, shape, strides):
        self.storage, self.offset = storage, offset
        self.shape, self.strides = tuple(shape), tuple(strides)

    def __reduce_ex__(self, protocol):
        rebuild = sys.modules["torch._utils"]._rebuild_tensor_v2
        hooks = collections.OrderedDict()
        return rebuild, (
            self.storage,
            self.offset,
            self.shape,
            self.strides,
            False,
            hooks,
        )


class Parameter:
    """`torch.nn.Parameter`."""

    def __init__(self, tensor):
        self.tensor = tensor

    def __reduce_ex__(self, protocol):
        rebuild = sys.modules["torch._utils"]._rebuild_parameter
        return rebuild, (self.tensor, True, collections.OrderedDict())


def tensor_of(array, key, kind=""):
    """A tensor in one piece on a storage of its own."""
    kind = kind or array.dtype.name
    raw = bfloat16(array) if kind == "bfloat16" else array
    storage = Storage(key, kind, np.ascontiguousarray(raw).reshape(-1))
    strides = [int(np.prod(array.shape[axis + 1 :])) for axis in range(array.ndim)]
    return Tensor(storage, 0, array.shape, strides)


def state_dict_of(arrays, first_key=100):
    """What `model.state_dict()` is: ordered, with the versions of layers beside it."""
    state = collections.OrderedDict(
        (name, tensor_of(array, str(first_key + place)))
        for place, (name, array) in enumerate(arrays.items())
    )
    state._metadata = collections.OrderedDict({"": {"version": 1}})
    return state


def _fake_torch():
    torch, utils = types.ModuleType("torch"), types.ModuleType("torch._utils")
    for name in CLASSES.values():
        setattr(torch, name, type(name, (), {"__module__": "torch"}))
    for name in ("_rebuild_tensor_v2", "_rebuild_parameter"):
        function = types.FunctionType((lambda *_: None).__code__, {}, name)
        function.__module__, function.__qualname__ = "torch._utils", name
        setattr(utils, name, function)
    return {"torch": torch, "torch._utils": utils}


def pickled(value, *, has_view=False, protocol=2):
    """The pickle of a state dict, and its storages by key."""
    storages = {}

    class Pickler(pickle.Pickler):
        def persistent_id(self, item):
            if not isinstance(item, Storage):
                return None
            storages[item.key] = item
            kind = getattr(sys.modules["torch"], CLASSES[item.kind])
            identity = ("storage", kind, item.key, "cpu", item.raw.size)
            return (*identity, None) if has_view else identity

    modules = _fake_torch()
    assert not modules.keys() & sys.modules.keys()
    sys.modules.update(modules)
    try:
        stream = io.BytesIO()
        Pickler(stream, protocol).dump(value)
    finally:
        for name in modules:
            del sys.modules[name]
    return stream.getvalue(), storages


def legacy_bytes(value):
    """The file that `torch.save` wrote before 1.6."""
    body, storages = pickled(value, has_view=True)
    sizes = {"short": 2, "int": 4, "long": 4}
    system = {
        "protocol_version": 1001,
        "little_endian": True,
        "type_sizes": sizes,
    }
    keys = sorted(storages)
    parts = [pickle.dumps(part, 2) for part in (MAGIC_NUMBER, 1001, system)]
    parts += [body, pickle.dumps(keys, 2)]
    for key in keys:
        raw = storages[key].raw
        parts += [struct.pack("<q", raw.size), raw.tobytes()]
    return b"".join(parts)


def zip_bytes(value, *, compression=zipfile.ZIP_STORED, byteorder="little", extra=()):
    """The file that `torch.save` writes today."""
    body, storages = pickled(value)
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as archive:
        archive.writestr("net/data.pkl", body)
        archive.writestr("net/byteorder", byteorder)
        for key, storage in storages.items():
            raw = storage.raw
            if byteorder == "big":
                raw = raw.astype(raw.dtype.newbyteorder(">"))
            archive.writestr(f"net/data/{key}", raw.tobytes())
        archive.writestr("net/version", "3\n")
        for name, content in extra:
            archive.writestr(name, content)
    return stream.getvalue()


@pytest.fixture(scope="session")
def torch_files():
    """This module's functions: a fake of `torch.save`."""
    return types.SimpleNamespace(
        Storage=Storage,
        Tensor=Tensor,
        Parameter=Parameter,
        tensor_of=tensor_of,
        state_dict_of=state_dict_of,
        pickled=pickled,
        legacy_bytes=legacy_bytes,
        zip_bytes=zip_bytes,
        bfloat16=bfloat16,
    )

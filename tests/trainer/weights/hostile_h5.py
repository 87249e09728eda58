"""Writes lying and damaged HDF5 files: name -> (function of the path, words)."""

import pathlib
import struct

import h5py
import numpy as np

ONES = np.ones((3, 4), np.float32)


def good(path: pathlib.Path) -> None:
    """A file as Keras 2 writes it."""
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [b"a", b"b"]
        file["a/a/kernel:0"] = ONES
        file["b/b/kernel:0"] = ONES


def _with(change):
    def write(path: pathlib.Path) -> None:
        good(path)
        with h5py.File(path, "r+") as file:
            change(file)

    return write


def _bytes(change):
    def write(path: pathlib.Path) -> None:
        good(path)
        path.write_bytes(change(path.read_bytes()))

    return write


def _offset(path: pathlib.Path) -> int:
    with h5py.File(path, "r") as file:
        return file["a/a/kernel:0"].id.get_offset()


def _patched(at_field, new: bytes):
    """The layout message of the first tensor holds its offset and its size in a row."""

    def write(path: pathlib.Path) -> None:
        good(path)
        content = path.read_bytes()
        layout = struct.pack("<QQ", _offset(path), ONES.nbytes)
        assert content.count(layout) == 1
        at = content.index(layout) + at_field
        path.write_bytes(content[:at] + new + content[at + len(new) :])

    return write


def _dimensions(new: tuple[int, int]):
    def write(path: pathlib.Path) -> None:
        good(path)
        old = struct.pack("<QQ", *ONES.shape)
        content = path.read_bytes()
        # Present and largest sizes are both there.
        path.write_bytes(content.replace(old, struct.pack("<QQ", *new)))

    return write


def _soft(file: h5py.File) -> None:
    file["c"] = h5py.SoftLink("/a")


def _external_link(file: h5py.File) -> None:
    file["c"] = h5py.ExternalLink("/etc/passwd", "/")


def _external_data(file: h5py.File) -> None:
    file.create_dataset("c/c/kernel:0", (16,), "f4", external=[("/etc/passwd", 0, 64)])


def _virtual(file: h5py.File) -> None:
    layout = h5py.VirtualLayout((2**40,), "f4")
    layout[:12] = h5py.VirtualSource("/etc/passwd", "x", (12,))
    file.create_virtual_dataset("c/c/kernel:0", layout)


def _filter(file: h5py.File) -> None:
    created = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    created.set_chunk((2**20,))
    # A number that no filter has: HDF5 would look for a plug-in.
    created.set_filter(32_000, h5py.h5z.FLAG_OPTIONAL, ())
    group = file.create_group("c/c")
    space = h5py.h5s.create_simple((2**20,))
    kind = h5py.h5t.IEEE_F32LE
    h5py.h5d.create(group.id, b"kernel:0", kind, space, created)


def _unallocated(file: h5py.File) -> None:
    file.create_dataset("c/c/kernel:0", (2**20, 2**20), "f4")


def _filled(file: h5py.File) -> None:
    file.create_dataset("c/c/kernel:0", (2**45,), "f4", fillvalue=1.5)


def _loop(file: h5py.File) -> None:
    file["a/loop"] = file["/"]


def _twice(file: h5py.File) -> None:
    for place in range(100):
        file[f"c{place}/kernel:0"] = file["a/a/kernel:0"]


def _deep(file: h5py.File) -> None:
    file["/".join("d" * 200)] = ONES


def _committed(file: h5py.File) -> None:
    file["c"] = np.dtype("f4")


def _names_of_layers(value):
    def change(file: h5py.File) -> None:
        group = file.create_group("layers/conv2d/vars")
        group["0"] = ONES
        if value is not None:
            group.attrs["name"] = value

    return change


def _numbered(file: h5py.File) -> None:
    for layer, count in (("conv2d", 5), ("lstm", 2)):
        group = file.create_group(f"layers/{layer}/vars")
        group.attrs["name"] = layer
        for place in range(count):
            group[str(place)] = ONES


def _typed(value):
    def change(file: h5py.File) -> None:
        file["c/c/kernel:0"] = value

    return change


COMPOUND = np.zeros(2, [(f"f{place}", "f4") for place in range(50)])
REFERENCES = np.empty(2, h5py.ref_dtype)
TEXTS = np.array(["a", "b"], h5py.string_dtype())
LONG = "x" * 2**16
BIG = 2**40

FILES = {
    "a soft link": (_with(_soft), "link to another place"),
    "an external link": (_with(_external_link), "link to another place"),
    "data in another file": (_with(_external_data), "not in one piece"),
    "virtual data": (_with(_virtual), "not in one piece"),
    "an unknown filter": (_with(_filter), "not in one piece"),
    "compressed data": (
        _with(
            lambda file: file.create_dataset(
                "c/kernel:0", data=np.zeros(2**20), compression="gzip"
            )
        ),
        "not in one piece",
    ),
    "data in chunks": (
        _with(lambda file: file.create_dataset("c/k", (4,), "f4", chunks=(2,))),
        "not in one piece",
    ),
    "a huge shape without data": (_with(_unallocated), "has 0 in the file"),
    "a huge fill": (_with(_filled), "has 0 in the file"),
    "a group within itself": (_with(_loop), "under two names"),
    "a tensor of many names": (_with(_twice), "under two names"),
    "deep groups": (_with(_deep), "nested too deeply"),
    "a type in place of a group": (_with(_committed), "neither a group nor a tensor"),
    "references": (_with(_typed(REFERENCES)), "is of another type"),
    "compounds": (_with(_typed(COMPOUND)), "is of another type"),
    "texts": (_with(_typed(TEXTS)), "is of another type"),
    "bytes": (_with(_typed(np.void(b"x" * 64))), "is of another type"),
    "complex numbers": (_with(_typed(np.zeros(3, "c8"))), "is of another type"),
    "int32": (_with(_typed(np.zeros(3, "i4"))), "is of another type"),
    "nothing": (_with(_typed(h5py.Empty("f4"))), "no elements"),
    "no tensors": (
        _with(lambda file: (file.pop("a"), file.pop("b"))),
        "holds no tensors",
    ),
    "a layer without name": (_with(_names_of_layers(None)), "does not say which"),
    "a long name of a layer": (_with(_names_of_layers(LONG)), "a layer is called"),
    "a path as name": (_with(_names_of_layers("../a")), "a layer is called"),
    "a number as name": (_with(_names_of_layers(3.0)), "is no text"),
    "many names of a layer": (_with(_names_of_layers(["a", "b"])), "is no text"),
    "layers of unknown kind": (_with(_numbered), "is not known"),
    "an offset behind the file": (
        _patched(0, struct.pack("<Q", BIG)),
        "the file at|damaged",
    ),
    "an offset of nothing": (_patched(0, b"\xff" * 8), "has 0 in the file|damaged"),
    "an offset on another tensor": (
        lambda path: _overlap(path),
        "overlaps",
    ),
    "a size of everything": (
        _patched(8, struct.pack("<Q", BIG)),
        "in the file|damaged",
    ),
    "a size too small": (_patched(8, struct.pack("<Q", 4)), "in the file|damaged"),
    "a huge shape on little data": (_dimensions((BIG, BIG)), "in the file|damaged"),
    "a shape of nothing": (_dimensions((0, 4)), "in the file|damaged"),
    "another signature": (
        _bytes(lambda content: content[:8] + b"\xff" + content[9:]),
        "damaged",
    ),
    "no root": (_bytes(lambda content: content[:64] + b"\xff" * 32 + content[96:]), ""),
    "noise": (_bytes(lambda content: content[:48] + bytes(range(256)) * 40), ""),
    **{
        f"cut at {end}": (_bytes(lambda content, end=end: content[:end]), "")
        for end in (8, 9, 40, 96, 200, 1000, 2048)
    },
    "without its last byte": (_bytes(lambda content: content[:-1]), ""),
}  # fmt: skip


def _overlap(path: pathlib.Path) -> None:
    good(path)
    with h5py.File(path, "r") as file:
        first, second = (file[f"{name}/{name}/kernel:0"].id for name in "ab")
        places = first.get_offset(), second.get_offset()
    old, new = (struct.pack("<QQ", place, ONES.nbytes) for place in places)
    path.write_bytes(path.read_bytes().replace(old, new))

"""The opcode reader: what CIFAR's files hold is read, everything else is refused."""

import pathlib
import pickle
import random
import struct
import sys
import time
import tracemalloc

import numpy as np
import pytest

from components.image_example_gen.layouts import pickles

RECONSTRUCT = b"cnumpy.core.multiarray\n_reconstruct\n"
NDARRAY = b"cnumpy\nndarray\n"


@pytest.mark.parametrize("protocol", [0, 2, 3, 4, 5])
def test_reads_batches_of_every_protocol(fakes, tmp_path, protocol):
    binary = fakes.cifar10_binary(tmp_path / "bin")
    folder = fakes.python_layout(binary, tmp_path / "py", protocol)
    table = np.frombuffer((binary / "data_batch_1.bin").read_bytes(), np.uint8)
    table = table.reshape(-1, 3073)
    batch = pickles.load((folder / "data_batch_1").read_bytes())
    np.testing.assert_array_equal(batch["data"], table[:, 1:])
    assert batch["labels"] == table[:, 0].tolist()
    assert len(batch["filenames"]) == len(table)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_reads_byte_keys_and_label_arrays(protocol):
    value = {
        b"labels": np.arange(300, dtype=np.int64),
        "n": [1, -2, None, True, (1, 2)],
    }
    loaded = pickles.load(pickle.dumps(value, protocol))
    np.testing.assert_array_equal(loaded["labels"], value[b"labels"])
    assert loaded["n"] == value["n"]


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_keeps_fortran_order_and_big_endian(protocol):
    array = np.asfortranarray(np.arange(6, dtype=">i4").reshape(2, 3))
    loaded = pickles.load(pickle.dumps({"a": array}, protocol))
    np.testing.assert_array_equal(loaded["a"], array)


class _Calls:
    def __init__(self, function, *arguments):
        self._call = (function, arguments)

    def __reduce__(self):
        return self._call


def _array_of(shape: bytes, content: bytes) -> bytes:
    return (
        b"\x80\x02}U\x01a" + RECONSTRUCT + NDARRAY + b"K\x00\x85U\x01b\x87R(K\x01" + shape
        + b"cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R\x89U" + bytes([len(content)]) + content
        + b"tbs."
    )  # fmt: skip


HOSTILE = {
    # name: (stream, part of the refusal)
    "memo bomb": (b"\x80\x02]r\x00\x00\x00\x04.", "not a dictionary"),
    "memo bomb in a dictionary": (b"\x80\x02}r\xff\xff\xff\xff.", None),
    "huge array": (
        b"\x80\x02}U\x01a" + RECONSTRUCT + NDARRAY + b"\x8a\x05\x00\x00\x00\x00\x01\x85"
        b"U\x01b\x87Rs.",
        "a size of its own",
    ),
    "uninitialised array": (
        b"\x80\x02}U\x01a" + NDARRAY + b"K@\x85\x85Rs.",
        "numpy.ndarray",
    ),
    "array without state": (
        b"\x80\x02}U\x01a" + RECONSTRUCT + NDARRAY + b"K\x00\x85U\x01b\x87Rs.",
        "without content",
    ),
    "array larger than its content": (
        _array_of(b"J\x00\x00\x00\x7f\x85", b"1234"),
        "4 bytes of content",
    ),
    "negative shape": (_array_of(b"J\xff\xff\xff\xff\x85", b""), "impossible shape"),
    "system": (b"\x80\x02cos\nsystem\nU\x04true\x85R.", "it names 'os'.'system'"),
    "system by protocol 0": (b"cos\nsystem\n(S'true'\ntR.", "it names 'os'.'system'"),
    "submodule": (
        b"\x80\x04\x8c\x1fnumpy.testing._private.utils\x8c\x09os.getpid\x93)R.",
        None,
    ),
    "dotted name": (
        b"\x80\x04\x8c\x05numpy\x8c\x0fndarray.__doc__\x93.",
        "it names 'numpy'.'ndarray.__doc__'",
    ),
    "eval": (pickle.dumps(_Calls(eval, "1"), 2), "it names '__builtin__'.'eval'"),
    "exec": (pickle.dumps(_Calls(exec, "1"), 4), "it names 'builtins'.'exec'"),
    "object array": (
        pickle.dumps({"a": np.array([{}], dtype=object)}, 2),
        "an array of type 'O8'",
    ),
    "extension": (b"\x80\x02\x82\x01.", "opcode 0x82"),
    "persistent id": (b"\x80\x02Pabc\n.", "opcode 0x50"),
    "instance": (b"\x80\x02(ios\nsystem\n.", "opcode 0x69"),
    "new object": (b"\x80\x02cnumpy\nndarray\n)\x81.", "opcode 0x81"),
    "unknown protocol": (b"\x80\x09}.", "protocol 9"),
    "empty": (b"", "ends early"),
    "no stop": (b"\x80\x02}", "ends early"),
    "text longer than the file": (b"\x80\x02X\xff\xff\xff\x7fabc.", "ends early"),
    "bytes longer than the file": (b"\x80\x04\x8e" + b"\xff" * 8 + b".", "ends early"),
    "recall of nothing": (b"\x80\x02h\x01.", "never stored"),
    "empty stack": (b"\x80\x02R.", "stack is empty"),
    "no mark": (b"\x80\x02}u.", "mark is missing"),
    "appends to a number": (b"\x80\x02K\x01K\x02a.", "no list"),
    "values left over": (b"\x80\x02}}.", "left over"),
    "list as key": (b"\x80\x02}]K\x01s.", "where text was expected"),
    "unknown encoding": (
        b"\x80\x02c_codecs\nencode\nX\x01\x00\x00\x00aX\x03\x00\x00\x00hex\x86R.",
        "latin1",
    ),
    "long number": (b"\x80\x02\x8a\xff" + b"\x01" * 255 + b".", "a number of 255 bytes"),
    "a name as a value": (b"\x80\x02}U\x01acnumpy\nndarray\ns.", "where data"),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_refuses_hostile_streams_at_once(name):
    stream, reason = HOSTILE[name]
    tracemalloc.start()
    start = time.monotonic()
    try:
        if name == "memo bomb in a dictionary":
            # Harmless here: the memo is a dictionary, not a table of 2^32 places.
            assert pickles.load(stream) == {}
        else:
            with pytest.raises(pickles.PickleRefused, match=reason):
                pickles.load(stream)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert time.monotonic() - start < 1
    assert peak_bytes < 1 << 20


def test_refuses_copies_of_copies():
    text = b"X" + struct.pack("<I", 100_000) + b"a" * 100_000
    head = (
        b"\x80\x02]c_codecs\nencode\nq\x01"
        + text
        + b"q\x02X\x06\x00\x00\x00latin1q\x03"
    )
    copy = b"h\x01h\x02h\x03\x86R"
    with pytest.raises(pickles.PickleRefused, match="take more memory"):
        pickles.load(head + copy * 1000 + b".")


def test_refuses_every_cut(fakes, tmp_path):
    binary = fakes.cifar10_binary(tmp_path / "bin", images=3)
    folder = fakes.python_layout(binary, tmp_path / "py")
    data = (folder / "data_batch_1").read_bytes()
    for end in (*range(300), *range(300, len(data), 311), len(data) - 1):
        with pytest.raises(pickles.PickleRefused):
            pickles.load(data[:end])


_EVENTS: list[str] = []
_WATCHED = (
    "import",
    "exec",
    "open",
    "os.",
    "socket",
    "subprocess",
    "pickle",
    "compile",
)


def _watch(event: str, arguments: tuple) -> None:
    if _EVENTS and event.startswith(_WATCHED):
        _EVENTS.append(event)


def test_mutants_neither_run_code_nor_raise_other_errors(fakes, tmp_path):
    binary = fakes.cifar10_binary(tmp_path / "bin", images=2)
    originals = [
        (
            fakes.python_layout(binary, tmp_path / str(protocol), protocol) / file
        ).read_bytes()
        for protocol, file in (
            (0, "batches.meta"),
            (2, "test_batch"),
            (5, "batches.meta"),
        )
    ]
    random.seed(1)
    sys.addaudithook(_watch)  # cannot be removed; it sleeps while _EVENTS is empty
    _EVENTS.append("start")
    try:
        for _ in range(20_000):
            mutant = bytearray(random.choice(originals))
            for _ in range(random.randint(1, 4)):
                # Mostly near the ends, where the opcodes are and not the pixels.
                place = random.choice(
                    (random.randrange(400), -random.randrange(1, 400))
                )
                mutant[place % len(mutant)] = random.randrange(256)
            try:
                pickles.load(bytes(mutant))
            except pickles.PickleRefused:
                continue
        seen = _EVENTS[1:]
    finally:
        _EVENTS.clear()
    assert seen == []


def test_no_unpickling_in_the_package():
    package = pathlib.Path(pickles.__file__).parent
    for path in package.rglob("*.py"):
        source = path.read_text()
        for word in (
            "import pickle\n",
            "pickle.load(",
            "extractall",
            "allow_pickle=True",
        ):
            assert word not in source.replace("pickles.load(", ""), path.name

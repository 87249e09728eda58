"""Lying and damaged `.safetensors`: name -> (content, words of the refusal)."""

import json
import struct

DATA = bytes(range(48))
GOOD = {
    "a": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]},
    "b": {"dtype": "F16", "shape": [12], "data_offsets": [24, 48]},
}


def content(header, data: bytes = DATA, length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def changed(**parts) -> bytes:
    """The header with other parts of `b`."""
    return content({**GOOD, "b": {**GOOD["b"], **parts}})


def without(part: str) -> bytes:
    entry = {key: value for key, value in GOOD["b"].items() if key != part}
    return content({**GOOD, "b": entry})


def raw(text: str) -> bytes:
    """The header with the entry of `b` as it is."""
    first = json.dumps(GOOD["a"])
    return content(f'{{"a":{first},{text}}}'.encode())


B = json.dumps(GOOD["b"])
LISTS = b'{"a":' + b"[" * 200_000
MANY = b'{"a":[' + b"[]," * 100_000 + b"[]]}"

FILES = {
    "an empty header": (content({}), "holds no tensors"),
    "only metadata": (content({"__metadata__": {"a": "b"}}, b""), "no tensors"),
    "a header longer than the file": (content(GOOD, length=10**6), "longer than"),
    "a header of all memory": (content(GOOD, length=2**63), "longer than the file"),
    "a header cut off": (content(GOOD, length=20), "not JSON"),
    "a header of no length": (content(GOOD, length=0), "not JSON"),
    "a header that is a list": (content(b'{"a":1}'.replace(b"{", b"["), DATA), ""),
    "a header behind blanks": (content(b" " + json.dumps(GOOD).encode()), ""),
    "a header that is no UTF-8": (content(b'{"\xff":1}'), "not JSON"),
    "nested without end": (content(LISTS), "not JSON"),
    "many lists": (content(MANY), "more than"),
    "a big header": (content(b"{" + b" " * 2**20 + b"}"), "more than"),
    "a name twice": (raw(f'"b":{B},"b":{B}'), "something twice"),
    "an entry twice in one": (
        raw('"b":{"dtype":"F16","dtype":"F16","shape":[12],"data_offsets":[24,48]}'),
        "something twice",
    ),
    "NaN": (raw('"b":{"dtype":"F16","shape":[NaN],"data_offsets":[24,48]}'), "NaN"),
    "endless": (
        raw('"b":{"dtype":"F16","shape":[1e999],"data_offsets":[24,48]}'),
        "impossible shape",
    ),
    "a number of many digits": (
        raw(f'"b":{{"dtype":"F16","shape":[{"9" * 5000}],"data_offsets":[24,48]}}'),
        "not JSON",
    ),
    "no type": (without("dtype"), "other parts"),
    "no shape": (without("shape"), "other parts"),
    "no offsets": (without("data_offsets"), "other parts"),
    "a part more": (changed(code="os.system"), "other parts"),
    "an entry that is text": (content({**GOOD, "b": "F16"}), "other parts"),
    "an unknown type": (changed(dtype="F4"), "is of type 'F4'"),
    "int32": (changed(dtype="I32", shape=[6]), "is of type 'I32'"),
    "a type that is a number": (changed(dtype=16), "no type or shape"),
    "a shape that is text": (changed(shape="12"), "no type or shape"),
    "a negative size": (changed(shape=[-12]), "impossible shape"),
    "two negative sizes": (changed(shape=[-3, -4]), "impossible shape"),
    "a size of true": (changed(shape=[True, 12]), "impossible shape"),
    "a size with a fraction": (changed(shape=[12.0]), "impossible shape"),
    "too many sizes": (changed(shape=[1] * 40), "40 dimensions"),
    "a huge shape": (changed(shape=[2**40, 2**40]), "lies in"),
    "a shape that wraps around": (changed(shape=[2**63, 2, 6]), "lies in"),
    "a shape too small": (changed(shape=[11]), "lies in"),
    "a shape of nothing": (changed(shape=[0], data_offsets=[24, 24]), "no elements"),
    "offsets turned round": (changed(data_offsets=[48, 24]), "lies in"),
    "negative offsets": (changed(data_offsets=[-24, 0]), "impossible offsets"),
    "three offsets": (changed(data_offsets=[24, 48, 72]), "impossible offsets"),
    "offsets of text": (changed(data_offsets=["24", "48"]), "impossible offsets"),
    "offsets behind the file": (changed(data_offsets=[24, 1024], shape=[500]), "take"),
    "a huge offset": (changed(data_offsets=[2**62, 2**62 + 24]), "leaves a hole"),
    "an overlap": (changed(data_offsets=[12, 36]), "overlaps"),
    "the same place": (changed(data_offsets=[0, 24]), "overlaps"),
    "a hole": (changed(data_offsets=[26, 50]), "leaves a hole"),
    "data left over": (content(GOOD, DATA + b"\0"), "the file has 49"),
    "data missing": (content(GOOD, DATA[:-1]), "the file has 47"),
    "no data": (content(GOOD, b""), "the file has 0"),
    **{
        f"cut at {end}": (content(GOOD)[:end], "")
        for end in (0, 1, 7, 8, 9, 40, 100, 150, len(content(GOOD)) - 1)
    },
}

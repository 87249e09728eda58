"""Makes malicious and damaged `.pth` files: name -> (content, words of the refusal).

Each is built from opcodes by hand, as an attacker would, not by a pickler.
"""

import io
import struct
import zipfile

import numpy as np

MAGIC = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."
PROTOCOL = b"\x80\x02M\xe9\x03."
SYSTEM = b"\x80\x02}q\x00X\x0d\x00\x00\x00little_endian\x88s."
RAW = np.arange(16, dtype="<f4").tobytes()
STOP = b"."


def unicode(text: str) -> bytes:
    content = text.encode()
    return b"X" + struct.pack("<I", len(content)) + content


def number(value: int) -> bytes:
    if -(2**31) <= value < 2**31:
        return b"J" + struct.pack("<i", value)
    content = value.to_bytes(9, "little", signed=True)
    return b"\x8a\x09" + content


def numbers(values) -> bytes:
    return b"(" + b"".join(map(number, values)) + b"t"


def storage(kind: str = "FloatStorage", key: str = "0", count: int = 16) -> bytes:
    identity = [
        unicode("storage"),
        f"ctorch\n{kind}\n".encode(),
        unicode(key),
        unicode("cpu"),
        number(count),
    ]
    return b"(" + b"".join(identity) + b"tQ"


def tensor(
    inner: bytes | None = None, *, offset=0, shape=(4, 4), strides=(4, 1)
) -> bytes:
    return (
        b"ctorch._utils\n_rebuild_tensor_v2\n("
        + (storage() if inner is None else inner)
        + number(offset)
        + numbers(shape)
        + numbers(strides)
        + b"\x89ccollections\nOrderedDict\n)RtR"
    )


def state(*values: bytes) -> bytes:
    """The pickle of a dictionary of w0, w1, ..."""
    entries = (unicode(f"w{place}") + value for place, value in enumerate(values))
    return b"\x80\x02}(" + b"".join(entries) + b"u."


def legacy(body: bytes, *, keys=("0",), tail: bytes | None = None) -> bytes:
    listed = b"\x80\x02](" + b"".join(map(unicode, keys)) + b"e."
    if tail is None:
        tail = struct.pack("<q", 16) + RAW
    return MAGIC + PROTOCOL + SYSTEM + body + listed + tail


def zipped(
    body: bytes,
    entries=(("net/data/0", RAW),),
    *,
    compression=zipfile.ZIP_STORED,
    pickle_name="net/data.pkl",
) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as archive:
        archive.writestr(pickle_name, body)
        for name, content in entries:
            archive.writestr(name, content)
    return stream.getvalue()


def call(module: str, name: str, *arguments: bytes) -> bytes:
    return f"c{module}\n{name}\n(".encode() + b"".join(arguments) + b"tR"


# Names that run code, leak files or make objects, in PyTorch's own modules too.
NAMES = (
    ("os", "system"),
    ("posix", "system"),
    ("nt", "system"),
    ("builtins", "eval"),
    ("builtins", "exec"),
    ("builtins", "getattr"),
    ("builtins", "__import__"),
    ("builtins", "open"),
    ("__builtin__", "eval"),
    ("subprocess", "Popen"),
    ("subprocess", "check_output"),
    ("importlib", "import_module"),
    ("runpy", "_run_code"),
    ("pickle", "loads"),
    ("shutil", "rmtree"),
    ("socket", "create_connection"),
    ("webbrowser", "open"),
    ("ctypes", "CDLL"),
    ("timeit", "timeit"),
    ("bdb", "Bdb"),
    ("operator", "attrgetter"),
    ("functools", "partial"),
    ("types", "CodeType"),
    ("torch", "load"),
    ("torch", "hub.load"),
    ("torch.serialization", "load"),
    ("torch.storage", "_load_from_bytes"),
    ("torch._utils", "_rebuild_tensor"),
    ("torch.nn.modules.conv", "Conv2d"),
    ("torch.jit", "load"),
    ("numpy", "load"),
    ("numpy.core.multiarray", "_reconstruct"),
    ("collections", "OrderedDict.fromkeys"),
    ("collections", "defaultdict"),
    ("torch", "FloatStorage.from_file"),
)


def files() -> dict[str, tuple[bytes, str]]:
    """All files; the words are a regular expression for the sentence."""
    made: dict[str, tuple[bytes, str]] = {}
    for place, (module, name) in enumerate(NAMES):
        form = (legacy, zipped)[place % 2]
        body = state(tensor(), call(module, name, unicode("touch ran")))
        made[f"{module}.{name}"] = form(body), "it names"
    by_stack = unicode("os") + unicode("system") + b"\x93" + unicode("touch ran")
    made["system by protocol 4"] = (
        zipped(b"\x80\x04}" + unicode("a") + by_stack + b"\x85Rs."),
        "it names",
    )
    made["system before the magic number"] = (
        b"\x80\x02cos\nsystem\n" + unicode("touch ran") + b"\x85R.",
        "",
    )
    made["system for the type sizes"] = (
        MAGIC + PROTOCOL + state(call("os", "system", unicode("touch ran"))),
        "it names",
    )
    made["system for the list of keys"] = (
        MAGIC
        + PROTOCOL
        + SYSTEM
        + state(tensor())
        + state(call("os", "system", unicode("touch ran"))),
        "it names",
    )
    made["reduce of a result"] = (
        zipped(b"\x80\x02ccollections\nOrderedDict\n)R)R."),
        "calls something that is no known name",
    )
    made["reduce in a reduce"] = (
        zipped(state(tensor(call("builtins", "eval", unicode("1"))))),
        "it names",
    )
    made["state of a tensor"] = (
        zipped(state(tensor() + b"}b")),
        "sets the state of something",
    )
    made["arguments for a dictionary"] = (
        zipped(state(call("collections", "OrderedDict", b"]"))),
        "it calls",
    )
    for name, opcode in (
        ("INST", b"(ios\nsystem\n"),
        ("OBJ", b"(cos\nsystem\no"),
        ("NEWOBJ", b"ctorch\nSize\n)\x81"),
        ("NEWOBJ_EX", b"ctorch\nSize\n)}\x92"),
        ("EXT1", b"\x82\x01"),
        ("PERSID", b"P0\n"),
        ("STRING", b"S'a'\n"),
        ("NEXT_BUFFER", b"\x97"),
        ("DUP", b"}2"),
        ("FROZENSET", b"(\x91"),
    ):
        made[f"opcode {name}"] = zipped(b"\x80\x02" + opcode + b"."), "opcode|names"

    # Bombs.
    made["tuples of tuples"] = (
        legacy(b"\x80\x02)" + b"\x85" * 3_000_000 + b"."),
        "take more memory",
    )
    doubling = b"".join(b"q%ch%ch%c\x86" % (i, i, i) for i in range(200))
    made["tuples that double"] = legacy(b"\x80\x02)" + doubling + b"."), ""
    made["marks"] = legacy(b"\x80\x02" + b"(" * 3_000_000), "take more memory"
    made["dictionaries"] = legacy(b"\x80\x02(" + b"}" * 2_000_000), "take more memory"
    memo = b"".join(b"r" + struct.pack("<I", i) for i in range(300_000))
    made["memo"] = legacy(b"\x80\x02}" + memo + b"."), "take more memory"
    made["a memo at the end of all numbers"] = (
        zipped(b"\x80\x02}r\xff\xff\xff\xff."),
        "holds no tensors",
    )
    pairs = b"".join(unicode(f"{i:05}") + b"N" for i in range(70_000))
    made["entries"] = legacy(b"\x80\x02}(" + pairs + b"u."), "take more memory"
    made["a text longer than the file"] = (
        zipped(b"\x80\x02X\xff\xff\xff\x7fabc."),
        "ends early",
    )
    made["bytes longer than the file"] = (
        zipped(b"\x80\x04\x8e" + b"\xff" * 8 + b"."),
        "ends early",
    )
    made["a frame of everything"] = zipped(b"\x80\x04\x95" + b"\xff" * 8), "ends early"

    # Storages and views that lie.
    lies: dict[str, tuple[bytes, str]] = {
        "a view behind its storage": (
            tensor(offset=1),
            "17 elements on a storage of 16",
        ),
        "a view far behind": (tensor(offset=2**62), "on a storage of 16"),
        "huge strides": (tensor(strides=(2**40, 1)), "on a storage of 16"),
        "strides beyond 64 bits": (tensor(strides=(2**70, 1)), "impossible"),
        "negative strides": (tensor(strides=(-4, 1)), "impossible"),
        "negative offset": (tensor(offset=-1), "impossible"),
        "negative sizes": (tensor(shape=(-4, -4)), "impossible"),
        "expanded by zero strides": (
            tensor(shape=(2**30, 2**20), strides=(0, 0)),
            "twice",
        ),
        "expanded a little": (tensor(shape=(4, 4), strides=(0, 1)), "twice"),
        "overlapping windows": (tensor(shape=(13, 4), strides=(1, 1)), "twice"),
        "no elements": (tensor(shape=(0, 2**40), strides=(1, 1)), "without elements"),
        "sizes without strides": (tensor(shape=(4, 4), strides=(1,)), "2 sizes"),
        "too many axes": (tensor(shape=(1,) * 40, strides=(1,) * 40), "40 sizes"),
        "a size that is text": (
            tensor().replace(numbers((4, 4)), b"(" + unicode("4") * 2 + b"t"),
            "impossible",
        ),
        "a size that is true": (
            tensor().replace(numbers((4, 4)), b"(\x88\x88t"),
            "impossible",
        ),
        "a tensor of a tensor": (tensor(tensor()), "where a storage was expected"),
        "a storage larger than the file": (
            tensor(storage(count=2**40)),
            "larger than the file",
        ),
        "a storage of negative length": (
            tensor(storage(count=-1)),
            "larger than the file",
        ),
        "a storage of no length": (
            tensor(storage().replace(number(16), unicode("16"))),
            "larger than the file",
        ),
        "a storage of another kind": (tensor(storage("FloatTensor")), "it names"),
        "a module for a storage": (
            tensor(storage().replace(unicode("storage"), unicode("module"))),
            "no storage",
        ),
        "a persistent id that is text": (tensor(unicode("0") + b"Q"), "no storage"),
        "a storage without tensors": (storage(), "holds no tensors"),
    }
    for name, (value, words) in lies.items():
        made[name] = zipped(state(value)), words
        made[f"{name}, legacy"] = legacy(state(value)), words
    made["one storage as two"] = (
        zipped(state(tensor(), tensor(storage(count=15)))),
        "described twice",
    )
    big = np.zeros(2**18, "<f4").tobytes()
    view = tensor(storage(count=2**18), shape=(2**18,), strides=(1,))
    made["one big storage for many tensors"] = (
        zipped(state(*[view] * 64), [("net/data/0", big)]),
        "more than twice the file's",
    )
    made["one big storage for many, legacy"] = (
        legacy(state(*[view] * 64), tail=struct.pack("<q", 2**18) + big),
        "more than twice the file's",
    )
    return made | _containers()


def _containers() -> dict[str, tuple[bytes, str]]:
    """Damage outside of the pickles: cuts, sizes, and the zip."""
    made: dict[str, tuple[bytes, str]] = {}
    body = state(tensor())
    for name, content in (("legacy", legacy(body)), ("zip", zipped(body))):
        for place in range(24):
            end = place * len(content) // 24
            made[f"{name} cut at {end}"] = content[:end], ""
        made[f"{name} without its last byte"] = content[:-1], ""
        made[f"{name} with a byte more"] = content + b"\0", ""
    made["a storage that says another length"] = (
        legacy(body, tail=struct.pack("<q", 15) + RAW),
        "holds 15 elements, its tensors say 16",
    )
    made["a storage of negative length, in the file"] = (
        legacy(body, tail=struct.pack("<q", -1) + RAW),
        "holds -1 elements",
    )
    made["keys without storages"] = (
        legacy(body, keys=("0", "1")),
        "list of storages",
    )
    made["keys twice"] = legacy(body, keys=("0", "0")), "list of storages"
    made["another protocol"] = (
        MAGIC + b"\x80\x02K\x07." + SYSTEM + body,
        "protocol is not 1001",
    )
    made["an entry too short"] = (
        zipped(body, [("net/data/0", RAW[:-4])]),
        "has 60 bytes, its tensors say 64",
    )
    made["an entry too long"] = (
        zipped(body, [("net/data/0", RAW + RAW)]),
        "has 128 bytes, its tensors say 64",
    )
    made["no entry"] = zipped(body, []), "no entry for the storage"
    made["a path upwards"] = (
        zipped(body, [("net/data/0", RAW), ("../../etc/cron.d/x", b"*")]),
        "has an entry",
    )
    made["an absolute path"] = (
        zipped(body, [("net/data/0", RAW), ("/etc/passwd", b"*")]),
        "has an entry",
    )
    made["a storage called as a path"] = (
        zipped(state(tensor(storage(key="../../x"))), [("net/data/0", RAW)]),
        "no entry for the storage",
    )
    made["two pickles"] = (
        zipped(body, [("net/data/0", RAW), ("other/data.pkl", body)]),
        "without PyTorch's data.pkl",
    )
    made["an entry twice"] = (
        _twice(zipped(body, [("net/data/0", RAW), ("net/data/1", RAW)])),
        "two entries",
    )
    made["a program of TorchScript"] = (
        zipped(body, [("net/data/0", RAW), ("net/constants.pkl", b"\x80\x02).")]),
        "TorchScript",
    )
    made["a byte order that is none"] = (
        zipped(body, [("net/data/0", RAW), ("net/byteorder", b"middle")]),
        "byte order",
    )
    zeros = bytes(2**26)
    made["a deflated bomb"] = (
        zipped(
            state(tensor(storage(count=2**24), shape=(2**24,), strides=(1,))),
            [("net/data/0", zeros)],
            compression=zipfile.ZIP_DEFLATED,
        ),
        "larger than the file",
    )
    made["a deflated pickle of marks"] = (
        zipped(
            b"\x80\x02" + b"(" * 2**21,
            compression=zipfile.ZIP_DEFLATED,
        ),
        "take more memory",
    )
    made["a bzip2 entry"] = (
        zipped(body, compression=zipfile.ZIP_BZIP2),
        "neither stored nor deflated",
    )
    made["an encrypted entry"] = (
        _flagged(zipped(body), 1),
        "zip is damaged",
    )
    made["a checksum that is wrong"] = (
        zipped(body).replace(RAW, RAW[:-1] + b"\x01"),
        "zip is damaged",
    )
    made["a directory of many entries"] = (
        zipped(body, [(f"{i}", b"") for i in range(30_000)]),
        "its directory has",
    )
    made["a zip within the pickle's place"] = (
        zipped(zipped(body)),
        "opcode",
    )
    return made


def _twice(content: bytes) -> bytes:
    return content.replace(b"net/data/1", b"net/data/0")


def _flagged(content: bytes, flags: int) -> bytes:
    """The zip with general purpose flags set in all of its headers."""
    changed = bytearray(content)
    for magic, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = changed.find(magic)
        while at >= 0:
            changed[at + offset] |= flags
            at = changed.find(magic, at + 4)
    return bytes(changed)

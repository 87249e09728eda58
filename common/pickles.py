"""Interprets the opcodes of pickles of plain data, and of no others.

A pickle is a program. Even an unpickler that admits only a few names can be made to
allocate gigabytes or to return uninitialised memory, so this module interprets the opcodes
itself; `pickletools` parses them. Names in the stream (`numpy.dtype` and so on) stay words: nothing is imported or
called. What the words mean is the business of a `Vocabulary`, one for each kind of file.

Memory is bounded: every value is charged to an allowance before the next one is made.

Reference: CPython Lib/pickletools.py, the description of every opcode.
"""

import pickletools
import sys
from collections.abc import Callable
from typing import IO, Any, BinaryIO, NamedTuple, NoReturn, cast

MAX_NUMBER_BYTES = 10  # 64 bits and a sign; PyTorch's magic number has 10 bytes
MAX_NAME_BYTES = 256
# What CPython allocates beyond the value itself, rounded up: a place on the stack, an
# entry of a dictionary, and an entry of the memo with its key, all while the table grows.
STACK_BYTES = 16
ENTRY_BYTES = 160
MEMO_BYTES = 192


class PickleRefused(ValueError):
    """The file is not a pickle of plain data; the text says what it holds instead."""


class UnknownName(PickleRefused):
    """The stream names a global that the vocabulary lacks."""


class Name(NamedTuple):
    """A global that the stream names; it is never looked up."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{ascii(self.module)[:80]}.{ascii(self.name)[:80]}"


class Vocabulary:
    """What names, calls and persistent ids mean in one kind of file.

    By default everything is refused. Values that a method returns are charged to the
    allowance by their own size, not by what they refer to.
    """

    names: frozenset[tuple[str, str]] = frozenset()

    def call(self, function: Name, arguments: tuple[Any, ...]) -> Any:
        """The value of a call (REDUCE) of one of `names`."""
        raise PickleRefused(f"it calls {function}")

    def build(self, target: Any, state: Any) -> None:
        """Sets the state (BUILD) of a value that `call` made."""
        raise PickleRefused("it sets the state of something that has none")

    def persistent(self, key: Any) -> Any:
        """The value of a persistent id (BINPERSID)."""
        raise PickleRefused("it refers to something outside of it")

    def key(self, value: Any) -> Any:
        """The key of a dictionary for the key that the stream gives."""
        return text(value)


class Reader:
    """One pass over the opcodes of one pickle.

    Args:
      file: at the pickle's first byte; after `run` right behind its last.
      end: offset in `file` that the pickle must not pass.
      vocabulary: of this kind of file.
      allowance_bytes: what all values may take together.
    """

    def __init__(
        self, file: BinaryIO, end: int, vocabulary: Vocabulary, allowance_bytes: int
    ):
        self._file = file
        self._at = file.tell()
        self._end = end
        self._vocabulary = vocabulary
        self.left_bytes = allowance_bytes
        self._allowance = allowance_bytes
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}
        self._names: dict[tuple[str, str], Name] = {}

    def run(self) -> Any:
        """The value of the pickle.

        Raises:
          PickleRefused: an opcode or name that the vocabulary lacks, values that take more
            than the allowance, or a stream that ends early.
        """
        try:
            while True:
                at, code = self._at, self.read(1)
                opcode = _OPCODES.get(code.decode("latin-1"))
                name = opcode.name if opcode else ""
                if name == "STOP":
                    break
                # Before its argument is read.
                if opcode is None or name not in _HANDLERS:
                    raise PickleRefused(
                        f"opcode 0x{code[0]:02x} at byte {at} is not allowed"
                    )
                stream = cast(IO[bytes], self)
                argument = opcode.arg.reader(stream) if opcode.arg else None
                _HANDLERS[name](self, argument)
        except PickleRefused:
            raise
        except ValueError as error:
            raise PickleRefused(f"it is damaged or ends early: {error}") from error
        value = self._pop()
        if self._stack:
            raise PickleRefused("values are left over at its end")
        return value

    def tell(self) -> int:
        """Offset in the file of the next byte."""
        return self._at

    def read(self, size: int) -> bytes:
        """The next bytes; a size that a damaged length gives is never allocated."""
        if size > self._end - self._at:
            raise PickleRefused(f"it ends early: {size:,} bytes wanted at {self._at:,}")
        if size > self.left_bytes:
            self._refuse_size()
        piece = self._file.read(size)
        if len(piece) != size:
            raise PickleRefused(f"it ends early: {size:,} bytes wanted at {self._at:,}")
        self._at += size
        return piece

    def readline(self) -> bytes:
        """A name, with the end of its line."""
        line = self._file.readline(min(MAX_NAME_BYTES, self._end - self._at))
        if not line.endswith(b"\n"):
            raise PickleRefused("a name without an end")
        self._at += len(line)
        return line

    def _charge(self, size: int) -> None:
        self.left_bytes -= size
        if self.left_bytes < 0:
            self._refuse_size()

    def _refuse_size(self) -> NoReturn:
        raise PickleRefused(
            f"its values take more memory than {self._allowance:,} bytes"
        )

    def _pop(self) -> Any:
        if not self._stack or self._stack[-1] is _MARK:
            raise PickleRefused("its stack is empty where a value is needed")
        return self._stack.pop()

    def _top(self) -> Any:
        if not self._stack:
            raise PickleRefused("its stack is empty where a value is needed")
        return self._stack[-1]

    def _pop_to_mark(self) -> list[Any]:
        for place in range(len(self._stack) - 1, -1, -1):
            if self._stack[place] is _MARK:
                items = self._stack[place + 1 :]
                del self._stack[place:]
                return items
        raise PickleRefused("a mark is missing")

    def push(self, value: Any) -> None:
        """Puts a new value on the stack."""
        self._charge(STACK_BYTES + sys.getsizeof(value))
        self._stack.append(value)

    def push_known(self, value: Any) -> None:
        """Puts a value on the stack that takes no memory of its own."""
        self._charge(STACK_BYTES)
        self._stack.append(value)

    def push_long(self, value: int) -> None:
        size = (value.bit_length() + 7) // 8
        if size > MAX_NUMBER_BYTES:
            raise PickleRefused(f"a number of {size} bytes")
        self.push(value)

    def push_tuple(self, size: int) -> None:
        items = [self._pop() for _ in range(size)]
        self.push(tuple(items[::-1]))

    def push_name(self, module: str, name: str) -> None:
        if (module, name) not in self._vocabulary.names:
            raise UnknownName(f"it names {Name(module, name)}")
        # One object a name, however often the stream gives it.
        known = self._names.setdefault((module, name), Name(module, name))
        self.push_known(known)

    def push_stack_name(self) -> None:
        name, module = self._pop(), self._pop()
        self.push_name(text(module), text(name))

    def remember(self, key: int) -> None:
        self._charge(MEMO_BYTES)
        self._memo[key] = self._top()

    def recall(self, key: int) -> None:
        if key not in self._memo:
            raise PickleRefused("it recalls a value it never stored")
        self.push_known(self._memo[key])

    def extend(self, items: list[Any]) -> None:
        target = self._top()
        if not isinstance(target, list):
            raise PickleRefused("it appends to something that is no list")
        self._charge(STACK_BYTES * len(items))
        target.extend(items)

    def update(self, items: list[Any]) -> None:
        target = self._top()
        if not isinstance(target, dict) or len(items) % 2:
            raise PickleRefused("it sets entries of something that is no dictionary")
        self._charge(ENTRY_BYTES * (len(items) // 2))
        for key, value in zip(items[::2], items[1::2], strict=True):
            target[self._vocabulary.key(key)] = value

    def set_item(self) -> None:
        value, key = self._pop(), self._pop()
        self.update([key, value])

    def reduce(self) -> None:
        arguments, function = self._pop(), self._pop()
        if not isinstance(function, Name) or not isinstance(arguments, tuple):
            raise PickleRefused("it calls something that is no known name")
        self.push(self._vocabulary.call(function, arguments))

    def build(self) -> None:
        state = self._pop()
        self._vocabulary.build(self._top(), state)

    def check_protocol(self, protocol: int) -> None:
        if protocol not in (2, 3, 4, 5):
            raise PickleRefused(f"it is of protocol {protocol}, not 2 to 5")


_MARK = object()
# With the readers of their arguments, which take the bytes from `Reader`.
_OPCODES = {opcode.code: opcode for opcode in pickletools.opcodes}


def text(value: Any) -> str:
    """`value` as text; Python 2 wrote it as bytes.

    Raises:
      PickleRefused: it is neither.
    """
    if isinstance(value, bytes):
        return value.decode("latin-1")
    if isinstance(value, str):
        return value
    refuse_kind(value, "text")


def refuse_kind(value: Any, expected: str) -> NoReturn:
    """Raises PickleRefused for a value of the wrong type."""
    raise PickleRefused(f"a {type(value).__name__} where {expected} was expected")


_VALUES = (
    "BININT1 BININT2 BININT BINFLOAT SHORT_BINBYTES BINBYTES BINBYTES8"
    " SHORT_BINUNICODE BINUNICODE BINUNICODE8"
)
# Opcodes by their names in `pickletools`, with their argument; no others are allowed.
_HANDLERS: dict[str, Callable[[Reader, Any], None]] = {
    **dict.fromkeys(_VALUES.split(), Reader.push),
    "PROTO": Reader.check_protocol,
    "FRAME": lambda r, _: None,  # a hint for buffered readers
    "LONG1": Reader.push_long,
    # `pickletools` decodes the strings of Python 2, which may be the bytes of arrays.
    "SHORT_BINSTRING": lambda r, value: r.push(value.encode("latin-1")),
    "BINSTRING": lambda r, value: r.push(value.encode("latin-1")),
    "BYTEARRAY8": lambda r, value: r.push(bytes(value)),
    "EMPTY_DICT": lambda r, _: r.push({}),
    "EMPTY_LIST": lambda r, _: r.push([]),
    "EMPTY_TUPLE": lambda r, _: r.push_known(()),
    "MARK": lambda r, _: r.push_known(_MARK),
    "NONE": lambda r, _: r.push_known(None),
    "NEWTRUE": lambda r, _: r.push_known(True),
    "NEWFALSE": lambda r, _: r.push_known(False),
    "TUPLE1": lambda r, _: r.push_tuple(1),
    "TUPLE2": lambda r, _: r.push_tuple(2),
    "TUPLE3": lambda r, _: r.push_tuple(3),
    "TUPLE": lambda r, _: r.push(tuple(r._pop_to_mark())),
    "GLOBAL": lambda r, names: r.push_name(*names.split(" ", 1)),
    "STACK_GLOBAL": lambda r, _: r.push_stack_name(),
    "BINPUT": Reader.remember,
    "LONG_BINPUT": Reader.remember,
    "MEMOIZE": lambda r, _: r.remember(len(r._memo)),
    "BINGET": Reader.recall,
    "LONG_BINGET": Reader.recall,
    "APPEND": lambda r, _: r.extend([r._pop()]),
    "APPENDS": lambda r, _: r.extend(r._pop_to_mark()),
    "SETITEM": lambda r, _: r.set_item(),
    "SETITEMS": lambda r, _: r.update(r._pop_to_mark()),
    "REDUCE": lambda r, _: r.reduce(),
    "BUILD": lambda r, _: r.build(),
    "BINPERSID": lambda r, _: r.push(r._vocabulary.persistent(r._pop())),
}

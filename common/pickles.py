"""Interprets the opcodes of pickles of plain data, and of no others.

A pickle is a program. Even an unpickler that admits only a few names can be made to
allocate gigabytes or to return uninitialised memory, so this module interprets the opcodes
itself. Names in the stream (`numpy.dtype` and so on) stay words: nothing is imported or
called. What the words mean is the business of a `Vocabulary`, one for each kind of file.

Memory is bounded: every value is charged to an allowance before the next one is made.

Reference: CPython Lib/pickletools.py, the description of every opcode.
"""

import struct
import sys
from collections.abc import Callable
from typing import Any, BinaryIO, NamedTuple, NoReturn

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
        self,
        file: BinaryIO,
        end: int,
        vocabulary: Vocabulary,
        allowance_bytes: int,
    ):
        self._file = file
        self._at = file.tell()
        self._end = end
        self._vocabulary = vocabulary
        self._left = allowance_bytes
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
        while True:
            at = self._at
            opcode = self._take(1)[0]
            if opcode == 0x2E:  # STOP
                value = self._pop()
                if self._stack:
                    raise PickleRefused("values are left over at its end")
                return value
            handler = _HANDLERS.get(opcode)
            if handler is None:
                raise PickleRefused(
                    f"opcode 0x{opcode:02x} at byte {at} is not allowed"
                )
            handler(self)

    @property
    def left_bytes(self) -> int:
        """What is left of the allowance."""
        return self._left

    def _charge(self, size: int) -> None:
        self._left -= size
        if self._left < 0:
            self._refuse_size()

    def _refuse_size(self) -> NoReturn:
        raise PickleRefused(
            f"its values take more memory than {self._allowance:,} bytes"
        )

    def _take(self, size: int) -> bytes:
        if size < 0 or size > self._end - self._at:
            raise PickleRefused(f"it ends early: {size:,} bytes wanted at {self._at:,}")
        if size > self._left:
            self._refuse_size()
        piece = self._file.read(size)
        if len(piece) != size:
            raise PickleRefused(f"it ends early: {size:,} bytes wanted at {self._at:,}")
        self._at += size
        return piece

    def _number(self, size: int, signed: bool = False) -> int:
        return int.from_bytes(self._take(size), "little", signed=signed)

    def _line(self) -> str:
        line = self._file.readline(min(MAX_NAME_BYTES, self._end - self._at))
        if not line.endswith(b"\n"):
            raise PickleRefused("a name without an end")
        self._at += len(line)
        return line[:-1].decode("latin-1")

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

    def push_number(self, size: int, signed: bool) -> None:
        self.push(self._number(size, signed))

    def push_long(self) -> None:
        size = self._number(1)
        if size > MAX_NUMBER_BYTES:
            raise PickleRefused(f"a number of {size} bytes")
        self.push_number(size, True)

    def push_float(self) -> None:
        self.push(struct.unpack(">d", self._take(8))[0])

    def push_bytes(self, length_bytes: int) -> None:
        self.push(self._take(self._number(length_bytes)))

    def push_text(self, length_bytes: int) -> None:
        content = self._take(self._number(length_bytes))
        try:
            self.push(str(content, "utf-8", "surrogatepass"))
        except UnicodeDecodeError as error:
            raise PickleRefused("text that is not UTF-8") from error

    def push_tuple(self, size: int) -> None:
        items = [self._pop() for _ in range(size)]
        self.push(tuple(items[::-1]))

    def push_marked_tuple(self) -> None:
        self.push(tuple(self._pop_to_mark()))

    def push_global(self) -> None:
        self._push_name(self._line(), self._line())

    def push_stack_global(self) -> None:
        name, module = self._pop(), self._pop()
        self._push_name(text(module), text(name))

    def _push_name(self, module: str, name: str) -> None:
        if (module, name) not in self._vocabulary.names:
            raise UnknownName(f"it names {Name(module, name)}")
        # One object a name, however often the stream gives it.
        known = self._names.setdefault((module, name), Name(module, name))
        self.push_known(known)

    def remember(self, key: int) -> None:
        self._charge(MEMO_BYTES)
        self._memo[key] = self._top()

    def memoize(self) -> None:
        self.remember(len(self._memo))

    def recall(self, size: int) -> None:
        key = self._number(size)
        if key not in self._memo:
            raise PickleRefused("it recalls a value it never stored")
        self.push_known(self._memo[key])

    def append(self) -> None:
        self._extend([self._pop()])

    def appends(self) -> None:
        self._extend(self._pop_to_mark())

    def _extend(self, items: list[Any]) -> None:
        target = self._top()
        if not isinstance(target, list):
            raise PickleRefused("it appends to something that is no list")
        self._charge(STACK_BYTES * len(items))
        target.extend(items)

    def set_item(self) -> None:
        value, key = self._pop(), self._pop()
        self._update([key, value])

    def set_items(self) -> None:
        self._update(self._pop_to_mark())

    def _update(self, items: list[Any]) -> None:
        target = self._top()
        if not isinstance(target, dict) or len(items) % 2:
            raise PickleRefused("it sets entries of something that is no dictionary")
        self._charge(ENTRY_BYTES * (len(items) // 2))
        for key, value in zip(items[::2], items[1::2], strict=True):
            target[self._vocabulary.key(key)] = value

    def reduce(self) -> None:
        arguments, function = self._pop(), self._pop()
        if not isinstance(function, Name) or not isinstance(arguments, tuple):
            raise PickleRefused("it calls something that is no known name")
        self.push(self._vocabulary.call(function, arguments))

    def build(self) -> None:
        state = self._pop()
        self._vocabulary.build(self._top(), state)

    def push_persistent(self) -> None:
        self.push(self._vocabulary.persistent(self._pop()))

    def check_protocol(self) -> None:
        protocol = self._number(1)
        if protocol not in (2, 3, 4, 5):
            raise PickleRefused(f"it is of protocol {protocol}, not 2 to 5")

    def skip_frame(self) -> None:
        # A hint for buffered readers; the opcodes in it follow as usual.
        self._number(8)


_MARK = object()


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


_HANDLERS: dict[int, Callable[[Reader], None]] = {
    0x80: Reader.check_protocol,  # PROTO
    0x95: Reader.skip_frame,  # FRAME
    0x7D: lambda r: r.push({}),  # EMPTY_DICT
    0x5D: lambda r: r.push([]),  # EMPTY_LIST
    0x29: lambda r: r.push_known(()),  # EMPTY_TUPLE
    0x28: lambda r: r.push_known(_MARK),  # MARK
    0x4E: lambda r: r.push_known(None),  # NONE
    0x88: lambda r: r.push_known(True),  # NEWTRUE
    0x89: lambda r: r.push_known(False),  # NEWFALSE
    0x4B: lambda r: r.push_number(1, False),  # BININT1
    0x4D: lambda r: r.push_number(2, False),  # BININT2
    0x4A: lambda r: r.push_number(4, True),  # BININT
    0x8A: Reader.push_long,  # LONG1
    0x47: Reader.push_float,  # BINFLOAT
    0x55: lambda r: r.push_bytes(1),  # SHORT_BINSTRING
    0x54: lambda r: r.push_bytes(4),  # BINSTRING
    0x43: lambda r: r.push_bytes(1),  # SHORT_BINBYTES
    0x42: lambda r: r.push_bytes(4),  # BINBYTES
    0x8E: lambda r: r.push_bytes(8),  # BINBYTES8
    0x96: lambda r: r.push_bytes(8),  # BYTEARRAY8
    0x8C: lambda r: r.push_text(1),  # SHORT_BINUNICODE
    0x58: lambda r: r.push_text(4),  # BINUNICODE
    0x8D: lambda r: r.push_text(8),  # BINUNICODE8
    0x85: lambda r: r.push_tuple(1),  # TUPLE1
    0x86: lambda r: r.push_tuple(2),  # TUPLE2
    0x87: lambda r: r.push_tuple(3),  # TUPLE3
    0x74: Reader.push_marked_tuple,  # TUPLE
    0x63: Reader.push_global,  # GLOBAL
    0x93: Reader.push_stack_global,  # STACK_GLOBAL
    0x71: lambda r: r.remember(r._number(1)),  # BINPUT
    0x72: lambda r: r.remember(r._number(4)),  # LONG_BINPUT
    0x94: Reader.memoize,  # MEMOIZE
    0x68: lambda r: r.recall(1),  # BINGET
    0x6A: lambda r: r.recall(4),  # LONG_BINGET
    0x61: Reader.append,  # APPEND
    0x65: Reader.appends,  # APPENDS
    0x73: Reader.set_item,  # SETITEM
    0x75: Reader.set_items,  # SETITEMS
    0x52: Reader.reduce,  # REDUCE
    0x62: Reader.build,  # BUILD
    0x51: Reader.push_persistent,  # BINPERSID
}

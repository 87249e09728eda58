"""Reads the dictionaries of CIFAR's python layout without unpickling anything.

A pickle is a program. Even an unpickler that admits only numpy's own names can be made
to allocate gigabytes or to give out uninitialised memory, so this module interprets the
opcodes such files consist of, and no others. The names in them (`numpy.dtype` and so on)
stay words: nothing is imported or called.

Understood are dictionaries of text, numbers, lists and numpy arrays of integers as
Python 2 (the official files) and Python 3 (`pickle.dump`, protocols 2 to 5) write them.

Reference: CPython Lib/pickletools.py, the description of every opcode.
"""

import math
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import numpy as np

MAX_MEMO_ENTRIES = 1_000_000
MAX_STACK_DEPTH = 1_000_000
MAX_DIMENSIONS = 4
MAX_NUMBER_BYTES = 9  # 64 bits and a sign

# Array classes: numpy 1 and 2 write different module names.
_RECONSTRUCT = {
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "_reconstruct"),
}
_FROM_BUFFER = {
    ("numpy.core.numeric", "_frombuffer"),
    ("numpy._core.numeric", "_frombuffer"),
}
_NDARRAY = ("numpy", "ndarray")
_DTYPE = ("numpy", "dtype")
_ENCODE = ("_codecs", "encode")
_KNOWN = _RECONSTRUCT | _FROM_BUFFER | {_NDARRAY, _DTYPE, _ENCODE}
_DTYPES = {"u1": "u1", "i1": "i1", "i2": "i2", "i4": "i4", "i8": "i8"}


class PickleRefused(ValueError):
    """The file is not a pickle of plain data; the text says what it holds instead."""


class _Name(NamedTuple):
    module: str
    name: str


class _Mark:
    pass


class _Dtype:
    def __init__(self, code: str):
        self.code = code
        self.byte_order: Literal["|", "<", ">"] = "<"


class _Array:
    """An array whose parts arrive one after the other; `value` is set when complete."""

    def __init__(self) -> None:
        self.value: np.ndarray | None = None


_MARK = _Mark()


def load(data: bytes) -> dict[str, Any]:
    """Dictionary in a pickle; its keys are text, byte keys included.

    Arrays are read-only numpy views on `data` where possible; their size never exceeds
    the bytes that stand in the file.

    Raises:
      PickleRefused: an opcode, name or shape that plain CIFAR data do not have, or a
        stream that ends early.
    """
    value = _Reader(data).run()
    if not isinstance(value, dict):
        raise PickleRefused(f"it holds a {type(value).__name__}, not a dictionary")
    return {_text(key): _plain(item) for key, item in value.items()}


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode("latin-1")
    if isinstance(value, str):
        return value
    raise PickleRefused(f"a {type(value).__name__} where text was expected")


def _plain(value: Any) -> Any:
    if isinstance(value, _Array):
        if value.value is None:
            raise PickleRefused("an array without content")
        return value.value
    if isinstance(value, (_Name, _Dtype, _Mark)):
        raise PickleRefused("a name where data were expected")
    return value


class _Reader:
    """One pass over the opcodes."""

    def __init__(self, data: bytes):
        self._data = memoryview(data)
        self._at = 0
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}
        # Encoding text copies it; repeated through the memo that would be a bomb.
        self._copies_left = 2 * len(data)

    def run(self) -> Any:
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
            if len(self._stack) > MAX_STACK_DEPTH:
                raise PickleRefused("its stack grows without end")

    def _take(self, size: int) -> memoryview:
        if size < 0 or size > len(self._data) - self._at:
            raise PickleRefused(f"it ends early: {size:,} bytes wanted at {self._at:,}")
        piece = self._data[self._at : self._at + size]
        self._at += size
        return piece

    def _number(self, size: int, signed: bool = False) -> int:
        return int.from_bytes(self._take(size), "little", signed=signed)

    def _line(self) -> str:
        rest = bytes(self._data[self._at : self._at + 256])
        end = rest.find(b"\n")
        if end < 0:
            raise PickleRefused("a name without an end")
        self._at += end + 1
        return rest[:end].decode("latin-1")

    def _pop(self) -> Any:
        if not self._stack or self._stack[-1] is _MARK:
            raise PickleRefused("its stack is empty where a value is needed")
        return self._stack.pop()

    def _top(self) -> Any:
        if not self._stack:
            raise PickleRefused("its stack is empty where a value is needed")
        return self._stack[-1]

    def _pop_to_mark(self) -> list[Any]:
        items: list[Any] = []
        while self._stack:
            item = self._stack.pop()
            if item is _MARK:
                return items[::-1]
            items.append(item)
        raise PickleRefused("a mark is missing")

    def push(self, value: Any) -> None:
        self._stack.append(value)

    def push_number(self, size: int, signed: bool) -> None:
        self.push(self._number(size, signed))

    def push_long(self) -> None:
        size = self._number(1)
        if size > MAX_NUMBER_BYTES:
            raise PickleRefused(f"a number of {size} bytes")
        self.push_number(size, True)

    def push_bytes(self, length_bytes: int) -> None:
        self.push(bytes(self._take(self._number(length_bytes))))

    def push_text(self, length_bytes: int) -> None:
        try:
            text = str(self._take(self._number(length_bytes)), "utf-8", "surrogatepass")
        except UnicodeDecodeError as error:
            raise PickleRefused("text that is not UTF-8") from error
        self.push(text)

    def push_tuple(self, size: int) -> None:
        items = [self._pop() for _ in range(size)]
        self.push(tuple(items[::-1]))

    def push_marked_tuple(self) -> None:
        self.push(tuple(self._pop_to_mark()))

    def push_global(self) -> None:
        self._push_name(self._line(), self._line())

    def push_stack_global(self) -> None:
        name, module = self._pop(), self._pop()
        self._push_name(_text(module), _text(name))

    def _push_name(self, module: str, name: str) -> None:
        if (module, name) not in _KNOWN:
            raise PickleRefused(f"it names {ascii(module)[:80]}.{ascii(name)[:80]}")
        self.push(_Name(module, name))

    def remember(self, key: int) -> None:
        if len(self._memo) >= MAX_MEMO_ENTRIES:
            raise PickleRefused("it remembers too many values")
        self._memo[key] = self._top()

    def memoize(self) -> None:
        self.remember(len(self._memo))

    def recall(self, size: int) -> None:
        key = self._number(size)
        if key not in self._memo:
            raise PickleRefused("it recalls a value it never stored")
        self.push(self._memo[key])

    def append(self) -> None:
        self._extend([self._pop()])

    def appends(self) -> None:
        self._extend(self._pop_to_mark())

    def _extend(self, items: list[Any]) -> None:
        target = self._top()
        if not isinstance(target, list):
            raise PickleRefused("it appends to something that is no list")
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
        for key, value in zip(items[::2], items[1::2], strict=True):
            target[_text(key)] = value

    def reduce(self) -> None:
        arguments, function = self._pop(), self._pop()
        if not isinstance(function, _Name) or not isinstance(arguments, tuple):
            raise PickleRefused("it calls something that is no known name")
        self.push(self._interpret(function, arguments))

    def _interpret(self, function: _Name, arguments: tuple[Any, ...]) -> Any:
        if function in _RECONSTRUCT:
            # The shape given here is a placeholder; the real one comes with BUILD.
            if len(arguments) != 3 or arguments[0] != _NDARRAY or arguments[1] != (0,):
                raise PickleRefused("an array that is made with a size of its own")
            return _Array()
        if function == _DTYPE:
            code = _text(arguments[0]) if arguments else ""
            if code not in _DTYPES:
                raise PickleRefused(f"an array of type {ascii(code)[:20]}")
            return _Dtype(_DTYPES[code])
        if function == _ENCODE:
            if len(arguments) != 2 or _text(arguments[1]) not in ("latin1", "latin-1"):
                raise PickleRefused("text in an encoding other than latin1")
            text = _text(arguments[0])
            self._copies_left -= len(text)
            if self._copies_left < 0:
                raise PickleRefused("it copies the same text again and again")
            try:
                return text.encode("latin-1")
            except UnicodeEncodeError as error:
                raise PickleRefused("text that is not latin1") from error
        if function in _FROM_BUFFER:
            if len(arguments) != 4:
                raise PickleRefused("an array with missing parts")
            content, dtype, shape, order = arguments
            array = _Array()
            array.value = _make_array(shape, dtype, _text(order) == "F", content)
            return array
        raise PickleRefused(f"it calls {function.module}.{function.name}")

    def build(self) -> None:
        state, target = self._pop(), self._top()
        if isinstance(target, _Dtype):
            if not isinstance(state, tuple) or len(state) < 2:
                raise PickleRefused("an array type with missing parts")
            match _text(state[1]):
                case "|" | "<" | ">" as order:
                    target.byte_order = order
                case _:
                    raise PickleRefused("an array type of unknown byte order")
        elif isinstance(target, _Array) and target.value is None:
            if not isinstance(state, tuple) or len(state) != 5:
                raise PickleRefused("an array with missing parts")
            _, shape, dtype, is_fortran, content = state
            target.value = _make_array(shape, dtype, bool(is_fortran), content)
        else:
            raise PickleRefused("it sets the state of something that is no array")


def _make_array(shape: Any, dtype: Any, is_fortran: bool, content: Any) -> np.ndarray:
    """Array over `content`, whose length must be exactly what `shape` and type say."""
    if not isinstance(dtype, _Dtype) or not isinstance(content, bytes):
        raise PickleRefused("an array with missing parts")
    if (
        not isinstance(shape, tuple)
        or len(shape) > MAX_DIMENSIONS
        or not all(isinstance(size, int) and size >= 0 for size in shape)
    ):
        raise PickleRefused("an array of impossible shape")
    kind = np.dtype(dtype.code).newbyteorder(dtype.byte_order)
    if math.prod(shape) * kind.itemsize != len(content):
        raise PickleRefused(
            f"an array of shape {str(shape)[:60]} with {len(content):,} bytes of content"
        )
    flat = np.frombuffer(content, kind)
    return flat.reshape(shape, order="F" if is_fortran else "C")


_HANDLERS: dict[int, Callable[[_Reader], None]] = {
    0x80: lambda r: _check_protocol(r._number(1)),  # PROTO
    0x95: lambda r: _skip_frame(r),  # FRAME
    0x7D: lambda r: r.push({}),  # EMPTY_DICT
    0x5D: lambda r: r.push([]),  # EMPTY_LIST
    0x29: lambda r: r.push(()),  # EMPTY_TUPLE
    0x28: lambda r: r.push(_MARK),  # MARK
    0x4E: lambda r: r.push(None),  # NONE
    0x88: lambda r: r.push(True),  # NEWTRUE
    0x89: lambda r: r.push(False),  # NEWFALSE
    0x4B: lambda r: r.push_number(1, False),  # BININT1
    0x4D: lambda r: r.push_number(2, False),  # BININT2
    0x4A: lambda r: r.push_number(4, True),  # BININT
    0x8A: lambda r: r.push_long(),  # LONG1
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
    0x74: lambda r: r.push_marked_tuple(),  # TUPLE
    0x63: lambda r: r.push_global(),  # GLOBAL
    0x93: lambda r: r.push_stack_global(),  # STACK_GLOBAL
    0x71: lambda r: r.remember(r._number(1)),  # BINPUT
    0x72: lambda r: r.remember(r._number(4)),  # LONG_BINPUT
    0x94: lambda r: r.memoize(),  # MEMOIZE
    0x68: lambda r: r.recall(1),  # BINGET
    0x6A: lambda r: r.recall(4),  # LONG_BINGET
    0x61: lambda r: r.append(),  # APPEND
    0x65: lambda r: r.appends(),  # APPENDS
    0x73: lambda r: r.set_item(),  # SETITEM
    0x75: lambda r: r.set_items(),  # SETITEMS
    0x52: lambda r: r.reduce(),  # REDUCE
    0x62: lambda r: r.build(),  # BUILD
}


def _check_protocol(protocol: int) -> None:
    if protocol not in (2, 3, 4, 5):
        raise PickleRefused(f"it is of protocol {protocol}, not 2 to 5")


def _skip_frame(reader: _Reader) -> None:
    reader._number(8)  # a hint for buffered readers; the opcodes in it follow as usual

"""Compressed streams, unpacked piece by piece; the pieces that come out are bounded."""

import bz2
import io
import lzma
import zlib
from collections.abc import Callable
from typing import Protocol

from components.image_example_gen.sources.limits import CHUNK_BYTES, Limits

# What a stream needs of a compressed file at a time; much more comes out of it.
_INPUT_BYTES = CHUNK_BYTES // 4


def make_reader(
    kind: str, file: io.BufferedReader, limits: Limits
) -> Callable[[int], bytes]:
    """Function that gives the next bytes of `file` unpacked, at most as many as asked.

    Args:
      kind: 'plain', 'gzip', 'xz' or 'bzip2'.
    """
    if kind == "plain":
        return file.read
    decompressors: dict[str, Callable[[], _Decompressor]] = {
        "gzip": _Inflate,
        "xz": lambda: lzma.LZMADecompressor(memlimit=limits.decoder_bytes),
        "bzip2": bz2.BZ2Decompressor,
    }
    return _Decoded(file, decompressors[kind]).read


class _Decompressor(Protocol):
    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int) -> bytes: ...


class _Inflate:
    """zlib's gzip decoder behind the interface of lzma's and bz2's."""

    def __init__(self) -> None:
        self._decoder = zlib.decompressobj(wbits=31)

    @property
    def eof(self) -> bool:
        return self._decoder.eof

    @property
    def needs_input(self) -> bool:
        return not self._decoder.unconsumed_tail

    @property
    def unused_data(self) -> bytes:
        return self._decoder.unused_data

    def decompress(self, data: bytes, max_length: int) -> bytes:
        return self._decoder.decompress(
            self._decoder.unconsumed_tail + data, max_length
        )


class _Decoded:
    """Reads a compressed file piece by piece; the pieces out are bounded too."""

    def __init__(self, file: io.BufferedReader, new: Callable[[], _Decompressor]):
        self._file = file
        self._new = new
        self._decoder = new()

    def read(self, size: int) -> bytes:
        pieces = []
        while size:
            if self._decoder.eof:
                rest = self._decoder.unused_data.lstrip(b"\x00") or self._file.read(
                    CHUNK_BYTES
                ).lstrip(b"\x00")
                if not rest:
                    break
                self._decoder = self._new()  # archives may be several streams in a row
                piece = self._decoder.decompress(rest, size)
            else:
                data = b""
                if self._decoder.needs_input:
                    data = self._file.read(_INPUT_BYTES)
                    if not data:
                        raise EOFError("the compressed stream ends early")
                piece = self._decoder.decompress(data, size)
            pieces.append(piece)
            size -= len(piece)
        return b"".join(pieces)

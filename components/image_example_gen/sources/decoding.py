"""Decompresses streams in pieces of bounded size."""

import bz2
import gzip
import io
import lzma
from collections.abc import Callable

from components.image_example_gen.sources import limits

# What a stream needs of a compressed file at a time; much more comes out of it.
_INPUT_BYTES = limits.CHUNK_BYTES // 4


def make_reader(kind: str, file: io.BufferedReader) -> Callable[[int], bytes]:
    """Function that gives the next bytes of `file` unpacked, at most as many as asked.

    Args:
      kind: 'plain', 'gzip', 'xz' or 'bzip2'.
    """
    match kind:
        case "plain":
            return file.read
        case "gzip":
            return gzip.GzipFile(fileobj=file).read
        case "xz":
            memory = limits.LIMITS.decoder_bytes
            return _Decoded(file, lambda: lzma.LZMADecompressor(memlimit=memory)).read
    return _Decoded(file, bz2.BZ2Decompressor).read


class _Decoded:
    """Reads a compressed file, as lzma.LZMAFile does, but with a limit of memory."""

    def __init__(
        self,
        file: io.BufferedReader,
        new: Callable[[], lzma.LZMADecompressor | bz2.BZ2Decompressor],
    ):
        self._file = file
        self._new = new
        self._decoder = new()

    def read(self, size: int) -> bytes:
        pieces = []
        while size:
            if self._decoder.eof:
                rest = self._decoder.unused_data.lstrip(b"\x00") or self._file.read(
                    limits.CHUNK_BYTES
                ).lstrip(b"\x00")
                if not rest:
                    break
                self._decoder = self._new()  # archives may be several streams in a row
            else:
                rest = b""
                if self._decoder.needs_input:
                    rest = self._file.read(_INPUT_BYTES)
                    if not rest:
                        raise EOFError("the compressed stream ends early")
            piece = self._decoder.decompress(rest, size)
            pieces.append(piece)
            size -= len(piece)
        return b"".join(pieces)

"""Huge pages for memory that is used again and again.

A step of training reads and writes some hundred MB of activations. In pages of 4 KiB the
processor looks up an address for each of them; in pages of 2 MiB hardly any.
"""

import ctypes
import pathlib
from collections.abc import Iterator

SIZE_BYTES = 2**21
# Stacks of threads and small heaps would only grow.
LEAST_BYTES = 2**24
# madvise(2); the second, since Linux 6.1, does at once what the first asks for.
_MADV_HUGEPAGE = 14
_MADV_COLLAPSE = 25
_MAPS = pathlib.Path("/proc/self/maps")


def use() -> int:
    """Asks the kernel for huge pages wherever this process has large memory of its own.

    What is allocated later is not covered. Contents do not change. Where the system has no
    huge pages, or does not give them, nothing happens.

    Returns:
      Bytes asked for.
    """
    if not _MAPS.exists():
        return 0
    library = ctypes.CDLL(None)
    library.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    asked = 0
    for start, end in _ranges(_MAPS.read_text(encoding="utf-8", errors="replace")):
        if library.madvise(start, end - start, _MADV_HUGEPAGE) == 0:
            library.madvise(start, end - start, _MADV_COLLAPSE)
            asked += end - start
    return asked


def _ranges(maps: str) -> Iterator[tuple[int, int]]:
    """(first address, end) of the whole huge pages in writable memory without a file."""
    for line in maps.splitlines():
        addresses, permissions, _, _, inode, *name = line.split(maxsplit=5)
        if permissions != "rw-p" or inode != "0" or name not in ([], ["[heap]"]):
            continue
        first, last = (int(address, 16) for address in addresses.split("-"))
        start = -(-first // SIZE_BYTES) * SIZE_BYTES
        end = last // SIZE_BYTES * SIZE_BYTES
        if end - start >= LEAST_BYTES:
            yield start, end

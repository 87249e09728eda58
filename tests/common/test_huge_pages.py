import mmap
import pathlib

import numpy as np
import pytest

from common import huge_pages

MIB = 2**20
MAPS = """\
560000000000-560001400000 rw-p 00000000 00:00 0                          [heap]
7f0000100000-7f0004300000 rw-p 00000000 00:00 0
7f1000000000-7f1000f00000 rw-p 00000000 00:00 0
7f2000000000-7f2004000000 r--p 00000000 00:00 0
7f3000000000-7f3004000000 rw-p 00000000 fe:00 77                         /tmp/a file
7f4000000000-7f4004000000 rw-p 00000000 00:00 0                          [stack]
7f5000000000-7f5004000000 rw-s 00000000 00:01 9                          /dev/shm/x (deleted)
"""


def test_takes_whole_pages_of_large_memory_of_its_own() -> None:
    ranges = list(huge_pages._ranges(MAPS))
    assert ranges == [
        (0x560000000000, 0x560001400000),
        (0x7F0000200000, 0x7F0004200000),
    ]


@pytest.mark.skipif(
    not pathlib.Path("/sys/kernel/mm/transparent_hugepage").exists(),
    reason="the kernel has no huge pages",
)
def test_memory_is_marked_and_keeps_its_contents() -> None:
    with mmap.mmap(-1, 64 * MIB, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory:
        values = np.frombuffer(memory, np.uint32)
        values[:] = np.arange(len(values))
        assert huge_pages.use() >= 62 * MIB
        address = values.ctypes.data
        assert "hg" in flags(address)
        np.testing.assert_array_equal(values, np.arange(len(values)))
        del values


def test_without_a_table_of_memory_nothing_happens(monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(huge_pages, "_MAPS", tmp_path / "maps")
    assert huge_pages.use() == 0


def flags(address: int) -> list[str]:
    """What the kernel says of the mapping that holds `address`."""
    is_it = False
    for line in pathlib.Path("/proc/self/smaps").read_text().splitlines():
        first, _, rest = line.partition(" ")
        if "-" in first and not first.endswith(":"):
            start, end = (int(part, 16) for part in first.split("-"))
            is_it = start <= address < end
        elif is_it and first == "VmFlags:":
            return rest.split()
    raise AssertionError(f"no mapping holds {address:#x}")

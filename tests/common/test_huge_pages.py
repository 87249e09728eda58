import pathlib
import subprocess
import sys

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

# Prints the bytes asked for, whether the memory is marked, and whether it holds what it held.
MARKED = """
import mmap, re, pathlib
import numpy as np
from common import huge_pages

memory = mmap.mmap(-1, 64 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
values = np.frombuffer(memory, np.uint32)
values[:] = np.arange(len(values))
asked = huge_pages.use()
address, is_marked = values.ctypes.data, False
for line in pathlib.Path("/proc/self/smaps").read_text().splitlines():
    if found := re.match("([0-9a-f]+)-([0-9a-f]+) ", line):
        is_it = int(found[1], 16) <= address < int(found[2], 16)
    elif is_it and line.startswith("VmFlags:"):
        is_marked = "hg" in line.split()
print(asked, is_marked, np.array_equal(values, np.arange(len(values))))
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
    """In a process of its own: the kernel would make whole all memory of this one."""
    done = subprocess.run(
        [sys.executable, "-c", MARKED], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    asked, is_marked, is_kept = done.stdout.split()
    assert int(asked) >= 62 * MIB
    assert (is_marked, is_kept) == ("True", "True")


def test_without_a_table_of_memory_nothing_happens(monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(huge_pages, "_MAPS", tmp_path / "maps")
    assert huge_pages.use() == 0

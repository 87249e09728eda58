"""The unpacked stream of a tar, counted against the limits."""

import io
import pathlib
from collections.abc import Callable

from common.errors import DataError
from components.image_example_gen.sources.limits import CHUNK_BYTES, Limits

_TAR_BLOCK_BYTES = 512


class MeteredStream(io.RawIOBase):
    """The unpacked stream as tarfile sees it; counts bytes against the limits."""

    def __init__(
        self, read: Callable[[int], bytes], archive: pathlib.Path, limits: Limits
    ):
        super().__init__()
        self._read = read
        self._archive = archive
        self._limits = limits
        self._total = 0
        self._tail = b""
        self.allow(0)

    @property
    def ends_in_zeros(self) -> bool:
        """Whether the last block given out is the empty one that ends a tar."""
        return len(self._tail) == _TAR_BLOCK_BYTES and not any(self._tail)

    def allow(self, member_bytes: int) -> None:
        """Lets a member and the header after it pass; headers alone stay small."""
        self._allowed = (
            self._total + member_bytes + self._limits.header_bytes + 2 * CHUNK_BYTES
        )

    def read(self, size: int = -1) -> bytes:
        data = self._read(size)
        self._total += len(data)
        if data:
            self._tail = (self._tail + data[-_TAR_BLOCK_BYTES:])[-_TAR_BLOCK_BYTES:]
        self._limits.check_total(self._total, self._archive)
        if self._total > self._allowed:
            raise DataError(
                f"{self._archive.name} spends more than"
                f" {self._limits.header_bytes:,} bytes on one header",
                tip="nothing was unpacked; such archives are made to exhaust memory",
            )
        return data

"""Limits of size and memory, beyond which a source is refused as a bomb."""

import dataclasses
import pathlib

from common.errors import DataError

# Bytes read or unpacked in one go.
CHUNK_BYTES = 1 << 20


@dataclasses.dataclass(frozen=True)
class Limits:
    """Limits of size and memory, beyond which a source is refused as a bomb.

    Attributes:
      total_bytes: bytes of all members together, as they come out.
      members: number of members.
      ratio: bytes out per byte of the archive, looked at from `ratio_floor_bytes` on.
      ratio_floor_bytes: below it any ratio passes, as small drawings compress well.
      image_bytes: bytes of one image file.
      data_file_bytes: bytes of one file that holds many images (CIFAR batch, IDX).
      header_bytes: bytes a tar may spend between two members (long names, pax headers).
      decoder_bytes: memory the xz decoder may ask for.
    """

    total_bytes: int = 20 << 30
    members: int = 2_000_000
    ratio: int = 200
    ratio_floor_bytes: int = 64 << 20
    image_bytes: int = 64 << 20
    data_file_bytes: int = 1 << 30
    header_bytes: int = 1 << 20
    decoder_bytes: int = 256 << 20

    def check_count(self, count: int, source: pathlib.Path) -> None:
        """Raises DataError if `source` has too many members."""
        if count > self.members:
            raise DataError(f"{source.name} holds more than {self.members:,} files")

    def check_total(self, total: int, archive: pathlib.Path) -> None:
        """Raises DataError if `total` bytes are too many to come out of `archive`."""
        if total > self.total_bytes:
            raise DataError(
                f"{archive.name} holds more than {self.total_bytes:,} bytes",
                tip="pack it as several datasets, or give an unpacked folder",
            )
        if total > self.ratio_floor_bytes and (
            total > self.ratio * archive.stat().st_size
        ):
            raise DataError(
                f"{archive.name} unpacks to more than {self.ratio} times its size",
                tip="if it is what you expect, unpack it and give the folder",
            )


LIMITS = Limits()

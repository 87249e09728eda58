"""A zip as a source."""

import contextlib
import pathlib
import stat
import struct
import zipfile
from collections.abc import Iterator

from common.errors import DataError
from components.image_example_gen.sources import limits, naming
from components.image_example_gen.sources.source import (
    DAMAGE,
    Source,
    damaged,
    not_a_file,
    read_at_most,
)

_LOCAL_HEADER_BYTES = 30
_ENCRYPTED = 0x1
_IS_UTF8 = 0x800
_ZIP_DAMAGE = (
    *DAMAGE,
    zipfile.BadZipFile,
    NotImplementedError,
    ValueError,
    struct.error,
)


class ZipSource(Source):
    """A zip; its members are read one by one, and their real bytes are counted."""

    def __init__(self, path: pathlib.Path):
        super().__init__(path)
        self._file: zipfile.ZipFile | None = None
        self._infos: dict[str, zipfile.ZipInfo] = {}
        self._bytes_out = 0

    def __reduce__(self) -> tuple:
        # A copy opens the file for itself.
        return ZipSource, (self.path,)

    def names(self) -> Iterator[str]:
        self._open()
        yield from sorted(self._infos)

    def read(self, name: str, limit: int) -> bytes:
        file = self._open()
        try:
            with file.open(self._infos[name]) as member:
                data = read_at_most(member, limit)
        except _ZIP_DAMAGE as error:
            raise damaged(self.path, f"in {name}", error) from error
        self._bytes_out += len(data)
        limits.LIMITS.check_total(self._bytes_out, self.path)
        return data

    def _open(self) -> zipfile.ZipFile:
        if self._file is None:
            try:
                self._file = zipfile.ZipFile(self.path)
            except _ZIP_DAMAGE as error:
                raise DataError(
                    f"{self.path} is not a zip archive",
                    found=str(error),
                    tip="fetch or pack the archive again",
                ) from error
            self._infos = self._check(self._file.infolist())
        return self._file

    def _check(self, infos: list[zipfile.ZipInfo]) -> dict[str, zipfile.ZipInfo]:
        """Members by name; overlapping, linked, locked or twice listed ones are refused."""
        seen = naming.SeenNames(self.path)
        checked = {}
        end = 0
        for info in sorted(infos, key=lambda info: info.header_offset):
            if info.header_offset < end:
                raise DataError(
                    f"{self.path.name} holds members that overlap: {info.filename}",
                    tip="nothing was unpacked; such archives are made to exhaust memory",
                )
            end = info.header_offset + _LOCAL_HEADER_BYTES + info.compress_size
            if naming.is_top(info.filename) and info.is_dir():
                continue
            name = naming.check_name(_name_of(info), self.path)
            if info.is_dir():
                seen.count()
                continue
            mode = info.external_attr >> 16
            if stat.S_IFMT(mode) not in (0, stat.S_IFREG):
                raise not_a_file(self.path, name)
            if info.flag_bits & _ENCRYPTED:
                raise DataError(
                    f"{self.path.name} is protected by a password",
                    tip="pack the folder again without one",
                )
            checked[seen.add(name)] = info
        return checked


def _name_of(info: zipfile.ZipInfo) -> str:
    """Name of a member; UTF-8 also where the archive does not say so, as Finder's."""
    if not info.flag_bits & _IS_UTF8:
        with contextlib.suppress(UnicodeError):
            return info.orig_filename.encode("cp437").decode("utf-8")
    return info.orig_filename

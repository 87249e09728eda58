"""Sources of files: a folder, a tar (plain, gzip, xz, bzip2) or a zip, read in place.

Nothing is ever extracted and no path is built from a member's name: the name only says
which class an image belongs to. Links, devices, odd names and duplicates are refused
rather than repaired, because a repaired name can put an image into another class.
"""

import bz2
import contextlib
import dataclasses
import io
import lzma
import os
import pathlib
import stat
import struct
import tarfile
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import IO, Protocol

from schema.errors import DataError


@dataclasses.dataclass(frozen=True)
class Limits:
    """What a source may cost before it is refused as a bomb.

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


LIMITS = Limits()

# What tools leave behind beside the images; hidden names are ignored as well.
LITTER = frozenset({"__macosx", "thumbs.db", "desktop.ini", "__pycache__"})

MAX_NAME_CHARACTERS = 1024
MAX_PART_CHARACTERS = 255
# Marks that make a name read otherwise than it is stored.
_DIRECTION_MARKS = frozenset(
    "\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
)
_CHUNK_BYTES = 1 << 20
_TAR_BLOCK_BYTES = 512
_ZIP_LOCAL_HEADER_BYTES = 30
_ZIP_ENCRYPTED = 0x1
# What the standard library raises for archives that are broken or cut off.
_DAMAGE = (tarfile.TarError, EOFError, OSError, zlib.error, lzma.LZMAError)
_ZIP_DAMAGE = (
    *_DAMAGE,
    zipfile.BadZipFile,
    NotImplementedError,
    ValueError,
    struct.error,
)


class MemberTooLarge(Exception):
    """A member holds more bytes than the reader allows; `args[0]` is the sentence."""


@dataclasses.dataclass(frozen=True)
class Member:
    """A regular file of a source.

    Attributes:
      name: its path in the source, parts joined by '/'.
      read: gives its bytes, at most as many as the argument says, else raises
        MemberTooLarge. In a tar it works only before the next member is asked for.
    """

    name: str
    read: Callable[[int], bytes]


class Source(Protocol):
    """A tree of files.

    Attributes:
      path: where it lies.
      is_random_access: `read` works, and `members` may be asked for single names. Where
        it is False, each pass over the names unpacks the archive from its start.
    """

    path: pathlib.Path
    is_random_access: bool

    def names(self) -> Iterator[str]:
        """Names of all regular files; sorted where access is random."""

    def members(self, wanted: Iterable[str] | None = None) -> Iterator[Member]:
        """All members, or the `wanted` ones in the order asked for."""

    def read(self, name: str, limit: int) -> bytes:
        """Bytes of one member of a source with random access."""


def open_source(path: str | os.PathLike[str], limits: Limits = LIMITS) -> Source:
    """Source at `path`; its first bytes say what kind of archive it is, not its name.

    Raises:
      DataError: nothing is there, or it is neither a folder nor a known archive.
    """
    where = pathlib.Path(path).expanduser()
    if where.is_dir():
        return FolderSource(where, limits)
    if not where.is_file():
        raise DataError(
            f"no data at {where}",
            expected="a folder, .tar, .tar.gz, .tar.xz or .zip",
            tip="check the path given with --data",
        )
    kind = _kind_of(where)
    if kind == "zip":
        return ZipSource(where, limits)
    if kind:
        return TarSource(where, kind, limits)
    with where.open("rb") as file:
        head = file.read(8)
    wanted = "a zip archive" if where.suffix.lower() == ".zip" else "an archive"
    raise DataError(
        f"{where} is not {wanted}",
        found=f"{where.stat().st_size:,} bytes that start with {head!r}",
        expected="a folder, .tar, .tar.gz, .tar.xz or .zip",
        tip="if the file is one of a data set, give the folder it lies in",
    )


def check_name(name: str, archive: pathlib.Path) -> str:
    """`name` without a leading './', if it is one that can be trusted as a path.

    Raises:
      DataError: it is empty, absolute, climbs ('..'), too long, or holds backslashes,
        control characters or marks that reverse the reading direction.
    """
    parts = [part for part in name.split("/") if part not in ("", ".")]
    reason = ""
    if not parts:
        reason = "an empty name"
    elif name.startswith("/") or (len(name) > 1 and name[1] == ":"):
        reason = "an absolute name"
    elif ".." in parts:
        reason = "a name that leaves its folder"
    elif "\\" in name:
        reason = "a name with a backslash"
    elif _is_odd(name):
        reason = "a name with control characters"
    elif len(name) > MAX_NAME_CHARACTERS or max(map(len, parts)) > MAX_PART_CHARACTERS:
        reason = "an overlong name"
    if reason:
        raise DataError(
            f"{archive.name} holds {reason}: {ascii(name)[:120]}",
            expected="plain relative paths",
            tip="pack the folder again; nothing was unpacked",
        )
    return "/".join(parts)


def read_data_file(member: Member) -> bytes:
    """Bytes of a file that holds many images or a list of them.

    Raises:
      DataError: it cannot be read, or is larger than such files may be.
    """
    try:
        return member.read(LIMITS.data_file_bytes)
    except MemberTooLarge as error:
        raise DataError(f"{member.name} is too large: {error}") from error
    except OSError as error:
        raise DataError(f"cannot read {member.name}: {error.strerror}") from error


def is_litter(name: str) -> bool:
    """Whether a path has a hidden part or one that only tools leave behind."""
    return any(
        part.startswith(".") or part.lower() in LITTER for part in name.split("/")
    )


class FolderSource:
    """A folder on disk. Links in it are followed: they are its owner's own."""

    is_random_access = True

    def __init__(self, path: pathlib.Path, limits: Limits = LIMITS):
        self.path = path
        self._limits = limits

    def names(self) -> Iterator[str]:
        found: list[str] = []
        self._collect(self.path, "", (), found)
        yield from sorted(found)

    def members(self, wanted: Iterable[str] | None = None) -> Iterator[Member]:
        for name in self.names() if wanted is None else wanted:
            yield Member(name, lambda limit, name=name: self.read(name, limit))  # type: ignore[misc]

    def read(self, name: str, limit: int) -> bytes:
        with (self.path / name).open("rb") as file:
            return _read_at_most(file, limit)

    def _collect(
        self,
        folder: pathlib.Path,
        prefix: str,
        above: tuple[tuple[int, int], ...],
        found: list[str],
    ) -> None:
        try:
            status = folder.stat()
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError as error:
            raise DataError(f"cannot read {folder}: {error.strerror}") from error
        identity = (status.st_dev, status.st_ino)
        if identity in above:
            raise DataError(f"{folder} is a link to a folder above it")
        for entry in entries:
            if _is_odd(entry.name):
                raise DataError(
                    f"{self.path} holds a name with control characters, or not in UTF-8:"
                    f" {ascii(prefix + entry.name)[:120]}",
                    tip="rename it",
                )
            if entry.is_dir():
                inner = f"{prefix}{entry.name}/"
                self._collect(folder / entry.name, inner, (*above, identity), found)
            elif entry.is_file():
                found.append(prefix + entry.name)
                if len(found) > self._limits.members:
                    raise _too_many(self.path, self._limits)


class TarSource:
    """A tar, unpacked as a stream: each pass over it starts from the beginning."""

    is_random_access = False

    def __init__(self, path: pathlib.Path, kind: str, limits: Limits = LIMITS):
        self.path = path
        self._kind = kind
        self._limits = limits

    def names(self) -> Iterator[str]:
        for member in self.members():
            yield member.name

    def members(self, wanted: Iterable[str] | None = None) -> Iterator[Member]:
        if wanted is not None:
            raise ValueError("a tar is read from its start, not member by member")
        last = "its start"
        with contextlib.ExitStack() as stack:
            file = stack.enter_context(self.path.open("rb"))
            stream = _Metered(
                _DECODERS[self._kind](file, self._limits), self.path, self._limits
            )
            try:
                # Stream mode ('r|') never seeks back, so a header with a negative size
                # ends in an error and not in a loop.
                tar = stack.enter_context(
                    tarfile.open(fileobj=stream, mode="r|", bufsize=_CHUNK_BYTES)
                )
                seen = _Names(self.path, self._limits)
                while (info := tar.next()) is not None:
                    # Else tarfile keeps every header it has read.
                    tar.members = []  # type: ignore[attr-defined]
                    name = check_name(info.name, self.path)
                    if info.isdir():
                        seen.count()
                        stream.allow(0)
                        continue
                    if not info.isreg() or info.issparse():
                        raise _not_a_file(self.path, info.name)
                    seen.add(name)
                    stream.allow(info.size)
                    last = name
                    yield Member(name, _tar_reader(self.path, tar, info))
                while stream.read(_CHUNK_BYTES):  # reaches the checksums at the end
                    stream.allow(0)
            except _DAMAGE as error:
                raise _damaged(self.path, f"after {last}", error) from error
            if not stream.ends_in_zeros:
                raise DataError(
                    f"{self.path.name} is incomplete: it has no end mark after {last}",
                    expected="a whole tar archive",
                    tip="fetch or pack the archive again",
                )

    def read(self, name: str, limit: int) -> bytes:
        raise ValueError("a tar is read from its start, not member by member")


class ZipSource:
    """A zip; its members are read one by one, and their real bytes are counted."""

    is_random_access = True

    def __init__(self, path: pathlib.Path, limits: Limits = LIMITS):
        self.path = path
        self._limits = limits
        self._file: zipfile.ZipFile | None = None
        self._infos: dict[str, zipfile.ZipInfo] = {}
        self._bytes_out = 0

    def __getstate__(self) -> dict[str, object]:
        return {"path": self.path, "_limits": self._limits}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__init__(state["path"], state["_limits"])  # type: ignore[misc]

    def names(self) -> Iterator[str]:
        self._open()
        yield from sorted(self._infos)

    def members(self, wanted: Iterable[str] | None = None) -> Iterator[Member]:
        for name in self.names() if wanted is None else wanted:
            yield Member(name, lambda limit, name=name: self.read(name, limit))  # type: ignore[misc]

    def read(self, name: str, limit: int) -> bytes:
        file = self._open()
        try:
            with file.open(self._infos[name]) as member:
                data = _read_at_most(member, limit)
        except _ZIP_DAMAGE as error:
            raise _damaged(self.path, f"in {name}", error) from error
        self._bytes_out += len(data)
        _check_total(self._bytes_out, self.path, self._limits)
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
        seen = _Names(self.path, self._limits)
        checked = {}
        end = 0
        for info in sorted(infos, key=lambda info: info.header_offset):
            if info.header_offset < end:
                raise DataError(
                    f"{self.path.name} holds members that overlap: {info.filename}",
                    tip="nothing was unpacked; such archives are made to exhaust memory",
                )
            end = info.header_offset + _ZIP_LOCAL_HEADER_BYTES + info.compress_size
            name = check_name(info.orig_filename, self.path)
            if info.is_dir():
                seen.count()
                continue
            mode = info.external_attr >> 16
            if stat.S_IFMT(mode) not in (0, stat.S_IFREG):
                raise _not_a_file(self.path, name)
            if info.flag_bits & _ZIP_ENCRYPTED:
                raise DataError(
                    f"{self.path.name} is protected by a password",
                    tip="pack the folder again without one",
                )
            seen.add(name)
            checked[name] = info
        return checked


class _Names:
    """Counts members and refuses a name that was there before, in any spelling."""

    def __init__(self, archive: pathlib.Path, limits: Limits):
        self._archive = archive
        self._limits = limits
        self._count = 0
        self._seen: set[str] = set()

    def count(self) -> None:
        self._count += 1
        if self._count > self._limits.members:
            raise _too_many(self._archive, self._limits)

    def add(self, name: str) -> None:
        self.count()
        folded = unicodedata.normalize("NFC", name).casefold()
        if folded in self._seen:
            raise DataError(
                f"{self._archive.name} holds {name} twice",
                expected="every name once, capital letters and accents not counting",
                tip="pack the folder again",
            )
        self._seen.add(folded)


class _Metered(io.RawIOBase):
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
            self._total + member_bytes + self._limits.header_bytes + 2 * _CHUNK_BYTES
        )

    def read(self, size: int = -1) -> bytes:
        data = self._read(size)
        self._total += len(data)
        if data:
            self._tail = (self._tail + data[-_TAR_BLOCK_BYTES:])[-_TAR_BLOCK_BYTES:]
        _check_total(self._total, self._archive, self._limits)
        if self._total > self._allowed:
            raise DataError(
                f"{self._archive.name} spends more than"
                f" {self._limits.header_bytes:,} bytes on one header",
                tip="nothing was unpacked; such archives are made to exhaust memory",
            )
        return data


def _is_odd(name: str) -> bool:
    """Whether a name holds control characters, surrogates or direction marks."""
    return any(
        unicodedata.category(letter) in ("Cc", "Cs") or letter in _DIRECTION_MARKS
        for letter in name
    )


def _kind_of(path: pathlib.Path) -> str:
    with path.open("rb") as file:
        head = file.read(_TAR_BLOCK_BYTES)
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return "zip"
    if head.startswith(b"\x1f\x8b"):
        return "gzip"
    if head.startswith(b"\xfd7zXZ\x00"):
        return "xz"
    if head.startswith(b"BZh"):
        return "bzip2"
    # Old tars have no magic, so a name ending in .tar is believed and checked on reading.
    return "plain" if head[257:262] == b"ustar" or path.suffix == ".tar" else ""


def _decode_gzip(file: io.BufferedReader, limits: Limits) -> Callable[[int], bytes]:
    return _Decoded(file, lambda: _Inflate()).read


def _decode_xz(file: io.BufferedReader, limits: Limits) -> Callable[[int], bytes]:
    return _Decoded(
        file, lambda: lzma.LZMADecompressor(memlimit=limits.decoder_bytes)
    ).read


def _decode_bzip2(file: io.BufferedReader, limits: Limits) -> Callable[[int], bytes]:
    return _Decoded(file, bz2.BZ2Decompressor).read


_DECODERS: dict[str, Callable[[io.BufferedReader, Limits], Callable[[int], bytes]]] = {
    "plain": lambda file, limits: file.read,
    "gzip": _decode_gzip,
    "xz": _decode_xz,
    "bzip2": _decode_bzip2,
}


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
                    _CHUNK_BYTES
                ).lstrip(b"\x00")
                if not rest:
                    break
                self._decoder = self._new()  # archives may be several streams in a row
                piece = self._decoder.decompress(rest, size)
            else:
                data = b""
                if self._decoder.needs_input:
                    data = self._file.read(_CHUNK_BYTES // 4)
                    if not data:
                        raise EOFError("the compressed stream ends early")
                piece = self._decoder.decompress(data, size)
            pieces.append(piece)
            size -= len(piece)
        return b"".join(pieces)


def _tar_reader(
    archive: pathlib.Path, tar: tarfile.TarFile, info: tarfile.TarInfo
) -> Callable[[int], bytes]:
    def read(limit: int) -> bytes:
        if info.size > limit:
            raise MemberTooLarge(f"{info.size:,} bytes, at most {limit:,} are read")
        try:
            file = tar.extractfile(info)  # a stream over the bytes; writes nothing
            data = file.read() if file else b""
        except _DAMAGE as error:
            raise _damaged(archive, f"in {info.name}", error) from error
        if len(data) != info.size:
            raise _damaged(archive, f"in {info.name}", EOFError("it ends early"))
        return data

    return read


def _damaged(archive: pathlib.Path, where: str, error: Exception) -> DataError:
    return DataError(
        f"{archive.name} is damaged or incomplete {where}",
        found=str(error) or type(error).__name__,
        expected="a whole archive",
        tip="fetch or pack the archive again",
    )


def _read_at_most(file: IO[bytes], limit: int) -> bytes:
    pieces = []
    total = 0
    while piece := file.read(min(_CHUNK_BYTES, limit + 1 - total)):
        pieces.append(piece)
        total += len(piece)
        if total > limit:
            raise MemberTooLarge(f"more than {limit:,} bytes")
    return b"".join(pieces)


def _check_total(total: int, archive: pathlib.Path, limits: Limits) -> None:
    if total > limits.total_bytes:
        raise DataError(
            f"{archive.name} holds more than {limits.total_bytes:,} bytes",
            tip="pack it as several data sets, or give an unpacked folder",
        )
    if total > limits.ratio_floor_bytes and (
        total > limits.ratio * archive.stat().st_size
    ):
        raise DataError(
            f"{archive.name} unpacks to more than {limits.ratio} times its size",
            tip="if it is what you expect, unpack it and give the folder",
        )


def _too_many(archive: pathlib.Path, limits: Limits) -> DataError:
    return DataError(f"{archive.name} holds more than {limits.members:,} files")


def _not_a_file(archive: pathlib.Path, name: str) -> DataError:
    return DataError(
        f"{archive.name} holds {name}, a link or device",
        expected="regular files and folders only",
        tip="pack the folder again with links resolved (tar --dereference)",
    )

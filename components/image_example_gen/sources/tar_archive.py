"""A tar, plain or compressed, as a source."""

import contextlib
import io
import pathlib
import posixpath
import tarfile
import tempfile
from collections.abc import Callable, Iterable, Iterator
from typing import IO

from common.errors import DataError
from components.image_example_gen.sources import decoding, limits, naming
from components.image_example_gen.sources.source import (
    DAMAGE,
    Member,
    MemberTooLarge,
    Source,
    damaged,
    not_a_file,
)
from schema import spelling

_BLOCK_BYTES = 512


class TarSource(Source):
    """A tar, unpacked as a stream: each pass over it starts from the beginning.

    A hard link is the file that it links to, an earlier one of the same tar; the first link
    costs two passes more, which find the files linked to and keep their bytes.
    """

    is_random_access = False

    def __init__(self, path: pathlib.Path, kind: str):
        """Makes the source of a tar whose compression is `kind` (`decoding`)."""
        super().__init__(path)
        self._kind = kind

    def names(self) -> Iterator[str]:
        for name, _, _ in self._pass():
            yield name

    def members(self, wanted: Iterable[str] | None = None) -> Iterator[Member]:
        if wanted is not None:
            raise ValueError("a tar is read from its start, not member by member")
        linked: _LinkedFiles | None = None
        with contextlib.ExitStack() as stack:
            for name, info, tar in self._pass():
                if not info.islnk():
                    yield Member(name, _member_reader(self.path, tar, info))
                    continue
                if linked is None:
                    kept = stack.enter_context(tempfile.TemporaryFile())
                    linked = _LinkedFiles(self.path, kept, self._pass)
                yield Member(name, linked.reader(name))

    def read(self, name: str, limit: int) -> bytes:
        raise ValueError("a tar is read from its start, not member by member")

    def _pass(self) -> Iterator[tuple[str, tarfile.TarInfo, tarfile.TarFile]]:
        """Every file and hard link in turn: its name, what the tar says of it, the tar."""
        last = "its start"
        with contextlib.ExitStack() as stack:
            file = stack.enter_context(self.path.open("rb"))
            read = decoding.make_reader(self._kind, file)
            stream = _MeteredStream(read, self.path)
            try:
                # Stream mode ('r|') never seeks back, so a header with a negative size
                # ends in an error and not in a loop.
                tar = stack.enter_context(
                    _ForgetfulTarFile.open(
                        fileobj=stream, mode="r|", bufsize=limits.CHUNK_BYTES
                    )
                )
                seen = naming.SeenNames(self.path)
                while (info := tar.next()) is not None:
                    if info.isdir() and naming.is_top(info.name):
                        continue
                    name = naming.check_name(info.name, self.path)
                    if info.isdir():
                        seen.count()
                        stream.allow(0)
                        continue
                    if not (info.isreg() or info.islnk()) or info.issparse():
                        raise not_a_file(self.path, info.name)
                    name = last = seen.add(name)
                    stream.allow(info.size if info.isreg() else 0)
                    yield name, info, tar
                while stream.read(
                    limits.CHUNK_BYTES
                ):  # reaches the checksums at the end
                    stream.allow(0)
            except DAMAGE as error:
                raise damaged(self.path, f"after {last}", error) from error
            if not stream.ends_in_zeros:
                raise DataError(
                    f"{self.path.name} is incomplete: it has no end mark after {last}",
                    expected="a whole tar archive",
                    tip="fetch or pack the archive again",
                )


class _LinkedFiles:
    """The files of a tar that hard links mean, kept in a temporary file."""

    def __init__(
        self,
        archive: pathlib.Path,
        kept: IO[bytes],
        read: Callable[[], Iterator[tuple[str, tarfile.TarInfo, tarfile.TarFile]]],
    ):
        """Finds the links, and keeps what they link to.

        Args:
          archive: the tar. kept: the temporary file.
          read: makes a pass over the tar.

        Raises:
          DataError: a link leads to no earlier file of the tar.
        """
        self._archive = archive
        self._kept = kept
        self._target_of: dict[str, str] = {}
        self._places: dict[str, tuple[int, int]] = {}
        self._bytes_out = 0
        earlier: set[str] = set()
        for name, info, _ in read():
            if info.islnk():
                target = spelling.normalise(posixpath.normpath(info.linkname))
                target = self._target_of.get(target, target)
                if target not in earlier:
                    raise not_a_file(self._archive, info.name)
                self._target_of[name] = target
            else:
                earlier.add(name)
        targets = set(self._target_of.values())
        for name, info, tar in read():
            if name in targets:
                self._places[name] = (self._kept.tell(), info.size)
                read_member = _member_reader(self._archive, tar, info)
                # Larger ones are never read.
                with contextlib.suppress(MemberTooLarge):
                    self._kept.write(read_member(limits.LIMITS.data_file_bytes))

    def reader(self, name: str) -> Callable[[int], bytes]:
        """Reads the file that the link `name` means."""
        start, size = self._places[self._target_of[name]]

        def read(limit: int) -> bytes:
            if size > limit:
                raise MemberTooLarge(f"{size:,} bytes, at most {limit:,} are read")
            self._bytes_out += size
            limits.LIMITS.check_total(self._bytes_out, self._archive)
            self._kept.seek(start)
            return self._kept.read(size)

        return read


class _MeteredStream(io.RawIOBase):
    """The unpacked stream as tarfile sees it; counts bytes against the limits."""

    def __init__(self, read: Callable[[int], bytes], archive: pathlib.Path):
        super().__init__()
        self._read = read
        self._archive = archive
        self._total = 0
        self._tail = b""
        self.allow(0)

    @property
    def ends_in_zeros(self) -> bool:
        """Whether the last block given out is the empty one that ends a tar."""
        return len(self._tail) == _BLOCK_BYTES and not any(self._tail)

    def allow(self, member_bytes: int) -> None:
        """Lets a member and the header after it pass; headers alone stay small."""
        self._allowed = (
            self._total
            + member_bytes
            + limits.LIMITS.header_bytes
            + 2 * limits.CHUNK_BYTES
        )

    def read(self, size: int = -1) -> bytes:
        data = self._read(size)
        self._total += len(data)
        if data:
            self._tail = (self._tail + data[-_BLOCK_BYTES:])[-_BLOCK_BYTES:]
        limits.LIMITS.check_total(self._total, self._archive)
        if self._total > self._allowed:
            raise DataError(
                f"{self._archive.name} spends more than"
                f" {limits.LIMITS.header_bytes:,} bytes on one header",
                tip="nothing was unpacked; such archives are made to exhaust memory",
            )
        return data


class _ForgetfulTarFile(tarfile.TarFile):
    """A tar whose headers are read once; else tarfile keeps every one in memory."""

    members: list[tarfile.TarInfo]

    def next(self) -> tarfile.TarInfo | None:
        info = super().next()
        self.members = []
        return info


def _member_reader(
    archive: pathlib.Path, tar: tarfile.TarFile, info: tarfile.TarInfo
) -> Callable[[int], bytes]:
    def read(limit: int) -> bytes:
        if info.size > limit:
            raise MemberTooLarge(f"{info.size:,} bytes, at most {limit:,} are read")
        try:
            file = tar.extractfile(info)  # a stream over the bytes; writes nothing
            data = file.read() if file else b""
        except DAMAGE as error:
            raise damaged(archive, f"in {info.name}", error) from error
        if len(data) != info.size:
            raise damaged(archive, f"in {info.name}", EOFError("it ends early"))
        return data

    return read

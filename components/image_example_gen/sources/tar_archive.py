"""A tar, plain or compressed, as a source."""

import contextlib
import pathlib
import tarfile
from collections.abc import Callable, Iterable, Iterator

from components.image_example_gen.sources import decoding, naming
from components.image_example_gen.sources.damage import DAMAGE, damaged, not_a_file
from components.image_example_gen.sources.limits import CHUNK_BYTES, LIMITS, Limits
from components.image_example_gen.sources.metering import MeteredStream
from components.image_example_gen.sources.source import Member, MemberTooLarge
from schema.errors import DataError


class TarSource:
    """A tar, unpacked as a stream: each pass over it starts from the beginning."""

    is_random_access = False

    def __init__(self, path: pathlib.Path, kind: str, limits: Limits = LIMITS):
        """Makes the source of a tar whose compression is `kind` (`decoding`)."""
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
            stream = MeteredStream(
                decoding.make_reader(self._kind, file, self._limits),
                self.path,
                self._limits,
            )
            try:
                # Stream mode ('r|') never seeks back, so a header with a negative size
                # ends in an error and not in a loop.
                tar = stack.enter_context(
                    _ForgetfulTarFile.open(
                        fileobj=stream, mode="r|", bufsize=CHUNK_BYTES
                    )
                )
                seen = naming.SeenNames(self.path, self._limits)
                while (info := tar.next()) is not None:
                    name = naming.check_name(info.name, self.path)
                    if info.isdir():
                        seen.count()
                        stream.allow(0)
                        continue
                    if not info.isreg() or info.issparse():
                        raise not_a_file(self.path, info.name)
                    seen.add(name)
                    stream.allow(info.size)
                    last = name
                    yield Member(name, _member_reader(self.path, tar, info))
                while stream.read(CHUNK_BYTES):  # reaches the checksums at the end
                    stream.allow(0)
            except DAMAGE as error:
                raise damaged(self.path, f"after {last}", error) from error
            if not stream.ends_in_zeros:
                raise DataError(
                    f"{self.path.name} is incomplete: it has no end mark after {last}",
                    expected="a whole tar archive",
                    tip="fetch or pack the archive again",
                )

    def read(self, name: str, limit: int) -> bytes:
        raise ValueError("a tar is read from its start, not member by member")


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

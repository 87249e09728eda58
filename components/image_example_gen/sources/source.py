"""The interface of sources, and the errors of damaged ones."""

import abc
import dataclasses
import functools
import lzma
import pathlib
import tarfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import IO

from common.errors import DataError
from components.image_example_gen.sources import limits

# What the standard library raises for archives that are broken or cut off.
DAMAGE = (tarfile.TarError, EOFError, OSError, zlib.error, lzma.LZMAError)


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


class Source(abc.ABC):
    """A tree of files.

    Attributes:
      path: where it lies.
      unreadable: what `names` met and cannot be read, with the reason: links that lead
        nowhere, closed folders; of folders on disk only.
      is_random_access: `read` works, and `members` may be asked for single names. Where
        it is False, each pass over the names unpacks the archive from its start.
    """

    is_random_access = True

    def __init__(self, path: pathlib.Path):
        self.path = path
        self.unreadable: dict[str, str] = {}

    @abc.abstractmethod
    def names(self) -> Iterator[str]:
        """Names of all regular files in NFC; sorted where access is random.

        Of a folder on disk also the litter in it, a folder of litter under one name.
        """

    def members(self, wanted: Iterable[str] | None = None) -> Iterator[Member]:
        """All members, or the `wanted` ones in the order asked for."""
        for name in self.names() if wanted is None else wanted:
            yield Member(name, functools.partial(self.read, name))

    @abc.abstractmethod
    def read(self, name: str, limit: int) -> bytes:
        """Bytes of one member of a source with random access."""


def read_data_file(member: Member) -> bytes:
    """Bytes of a file that holds many images or a list of them.

    Raises:
      DataError: it cannot be read, or is larger than such files may be.
    """
    try:
        return member.read(limits.LIMITS.data_file_bytes)
    except MemberTooLarge as error:
        raise DataError(f"{member.name} is too large: {error}") from error
    except OSError as error:
        raise DataError(f"cannot read {member.name}: {error.strerror}") from error


def unpack(member: Member) -> bytes:
    """Content of a data file, unpacked where it is compressed with gzip.

    Raises:
      DataError: it cannot be read, is damaged, or is larger than such files may be.
    """
    limit = limits.LIMITS.data_file_bytes
    data = read_data_file(member)
    if not data.startswith(b"\x1f\x8b"):
        return data
    decoder = zlib.decompressobj(wbits=31)
    try:
        unpacked = decoder.decompress(data, limit)
    except zlib.error as error:
        raise DataError(f"{member.name} is damaged: {error}") from error
    if decoder.unconsumed_tail:
        raise DataError(f"{member.name} unpacks to more than {limit:,} bytes")
    if not decoder.eof:
        raise DataError(
            f"{member.name} is incomplete: its gzip stream ends early",
            tip="fetch the file again",
        )
    return unpacked


def read_at_most(file: IO[bytes], limit: int) -> bytes:
    """All bytes of `file`.

    Raises:
      MemberTooLarge: there are more than `limit`.
    """
    pieces = []
    total = 0
    while piece := file.read(min(limits.CHUNK_BYTES, limit + 1 - total)):
        pieces.append(piece)
        total += len(piece)
        if total > limit:
            raise MemberTooLarge(f"more than {limit:,} bytes")
    return b"".join(pieces)


def damaged(archive: pathlib.Path, where: str, error: Exception) -> DataError:
    """Error for an archive that cannot be read on `where`, such as 'after cat/1.png'."""
    return DataError(
        f"{archive.name} is damaged or incomplete {where}",
        found=str(error) or type(error).__name__,
        expected="a whole archive",
        tip="fetch or pack the archive again",
    )


def not_a_file(archive: pathlib.Path, name: str) -> DataError:
    """Error for a member that is neither a regular file nor a folder, nor leads to one."""
    return DataError(
        f"{archive.name} holds {name}, a link or device",
        expected="regular files and folders only",
        tip="pack the folder again with links resolved"
        " (tar --dereference --hard-dereference)",
    )

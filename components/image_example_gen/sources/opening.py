"""The source at a path, whatever kind it is."""

import os
import pathlib

from common.errors import DataError
from components.image_example_gen.sources.folder import FolderSource
from components.image_example_gen.sources.limits import LIMITS, Limits
from components.image_example_gen.sources.source import Source
from components.image_example_gen.sources.tar_archive import TarSource
from components.image_example_gen.sources.zip_archive import ZipSource
from schema import file_tree

_HEAD_BYTES = 512  # the first header of a tar
_OTHERS = {
    b"Rar!": "a RAR archive",
    b"7z\xbc\xaf": "a 7z archive",
    b"(\xb5/\xfd": "compressed with Zstandard",
    b"\x89HDF": "an HDF5 file",
    b"PAR1": "a Parquet file: give its folder",
}


def open_source(path: str | os.PathLike[str], limits: Limits = LIMITS) -> Source:
    """Source at `path`; its first bytes say what kind of archive it is, not its name.

    Raises:
      DataError: nothing is there, it cannot be read, or it is neither a folder nor a known
        archive.
    """
    where = pathlib.Path(path).expanduser()
    try:
        return _open(where, limits)
    except OSError as error:
        reason = file_tree.why_unreadable(where, error)
        raise DataError(f"cannot read {where}: {reason}") from error


def _open(where: pathlib.Path, limits: Limits) -> Source:
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
    if kind := next(
        (name for mark, name in _OTHERS.items() if head.startswith(mark)), ""
    ):
        raise DataError(
            f"{where} is {kind}",
            expected="a folder, .tar, .tar.gz, .tar.xz or .zip",
            tip="unpack it, and give the folder",
        )
    wanted = "a zip archive" if where.suffix.lower() == ".zip" else "an archive"
    raise DataError(
        f"{where} is not {wanted}",
        found=f"{where.stat().st_size:,} bytes that start with {head!r}",
        expected="a folder, .tar, .tar.gz, .tar.xz or .zip",
        tip="if the file is one of a dataset, give the folder it lies in",
    )


def _kind_of(path: pathlib.Path) -> str:
    """'zip', or how a tar is compressed (`decoding.make_reader`); '' for neither."""
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
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

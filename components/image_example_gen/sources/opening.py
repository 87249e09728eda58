"""Opens the source at a path: a folder, a tar or a zip."""

import os
import pathlib

from common.errors import DataError
from components.image_example_gen.sources.folder import FolderSource
from components.image_example_gen.sources.source import Source
from components.image_example_gen.sources.tar_archive import TarSource
from components.image_example_gen.sources.zip_archive import ZipSource
from schema import file_tree

_HEAD_BYTES = 512  # the first header of a tar
# How files of a kind begin: zips, and compressed tars (`decoding.make_reader`).
_ARCHIVES = {
    b"PK\x03\x04": "zip",
    b"PK\x05\x06": "zip",
    b"\x1f\x8b": "gzip",
    b"\xfd7zXZ\x00": "xz",
    b"BZh": "bzip2",
}
_OTHERS = {
    b"Rar!": "a RAR archive",
    b"7z\xbc\xaf": "a 7z archive",
    b"(\xb5/\xfd": "compressed with Zstandard",
    b"\x89HDF": "an HDF5 file",
    b"PAR1": "a Parquet file: give its folder",
}
_EXPECTED = "a folder, .tar, .tar.gz, .tar.xz or .zip"


def open_source(path: str | os.PathLike[str]) -> Source:
    """Source at `path`; its first bytes say what kind of archive it is, not its name.

    Raises:
      DataError: nothing is there, it cannot be read, or it is neither a folder nor a known
        archive.
    """
    where = pathlib.Path(path).expanduser()
    try:
        return _open(where)
    except OSError as error:
        reason = file_tree.why_unreadable(where, error)
        raise DataError(f"cannot read {where}: {reason}") from error


def _open(where: pathlib.Path) -> Source:
    if where.is_dir():
        return FolderSource(where)
    if not where.is_file():
        raise DataError(
            f"no data at {where}",
            expected=_EXPECTED,
            tip="check the path given with --data",
        )
    with where.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    kind = _kind_of(head, _ARCHIVES)
    # Old tars have no magic, so a name ending in .tar is believed and checked on reading.
    if not kind and (head[257:262] == b"ustar" or where.suffix == ".tar"):
        kind = "plain"
    if kind:
        return ZipSource(where) if kind == "zip" else TarSource(where, kind)
    if kind := _kind_of(head, _OTHERS):
        raise DataError(
            f"{where} is {kind}",
            expected=_EXPECTED,
            tip="unpack it, and give the folder",
        )
    wanted = "a zip archive" if where.suffix.lower() == ".zip" else "an archive"
    raise DataError(
        f"{where} is not {wanted}",
        found=f"{where.stat().st_size:,} bytes that start with {head[:8]!r}",
        expected=_EXPECTED,
        tip="if the file is one of a dataset, give the folder it lies in",
    )


def _kind_of(head: bytes, kinds: dict[bytes, str]) -> str:
    """What a file is by its first bytes; '' for none of `kinds`."""
    return next((kind for mark, kind in kinds.items() if head.startswith(mark)), "")

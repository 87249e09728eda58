"""How archives are refused that are broken, cut off, or hold more than files."""

import lzma
import pathlib
import tarfile
import zlib

from common.errors import DataError

# What the standard library raises for archives that are broken or cut off.
DAMAGE = (tarfile.TarError, EOFError, OSError, zlib.error, lzma.LZMAError)


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

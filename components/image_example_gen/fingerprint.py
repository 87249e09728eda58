"""Fingerprint of a data set's contents."""

import hashlib
import os
import pathlib

from components.image_example_gen.sources import opening
from schema import image_names
from schema.errors import DataError

_CHUNK_BYTES = 1 << 20


def fingerprint(path: str | os.PathLike[str]) -> str:
    """SHA-256 in hex over the contents at `path`.

    Of a file its bytes; of a folder the sorted relative paths with the digest of each
    file. Where the data lie, when they were written and hidden files do not count, so a
    copy has the fingerprint of its original.

    Raises:
      DataError: nothing is there, or a file cannot be read.
    """
    where = pathlib.Path(path).expanduser()
    try:
        if where.is_file():
            return _digest(where).hex()
        source = opening.open_source(where)
        total = hashlib.sha256()
        for name in source.names():
            if image_names.is_litter(name):
                continue
            encoded = name.encode("utf-8", "surrogateescape")
            # The length keeps two names from running into one another.
            total.update(len(encoded).to_bytes(8, "big") + encoded)
            total.update(_digest(where / name))
        return total.hexdigest()
    except OSError as error:
        raise DataError(f"cannot read {error.filename}: {error.strerror}") from error


def _digest(path: pathlib.Path) -> bytes:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(_CHUNK_BYTES):
            digest.update(piece)
    return digest.digest()

"""Fingerprint of a dataset's contents."""

import hashlib
import os
import pathlib
from typing import cast

from common.errors import DataError
from components.image_example_gen.sources import opening
from components.image_example_gen.sources.folder import FolderSource
from schema import image_names


def fingerprint(path: str | os.PathLike[str]) -> str:
    """SHA-256 in hex over the contents at `path`.

    Of a file its bytes; of a folder the sorted relative paths with the digest of each
    file, or of the reason why it cannot be read. Where the data lie, when they were written
    and hidden files do not count, so a copy has the fingerprint of its original.

    Raises:
      DataError: nothing is there, or it cannot be read.
    """
    where = pathlib.Path(path).expanduser()
    try:
        if where.is_file():
            return _digest(where).hex()
        # Whatever is no file is a folder, or refused.
        source = cast(FolderSource, opening.open_source(where))
        total = hashlib.sha256()
        for name in source.names():
            if image_names.is_litter(name):
                continue
            try:
                digest = _digest(source.where(name))
            except OSError as error:
                digest = _digest_of_reason(error.strerror or str(error))
            _add(total, name, digest)
        for name, reason in sorted(source.unreadable.items()):
            _add(total, name, _digest_of_reason(reason))
        return total.hexdigest()
    except OSError as error:
        raise DataError(f"cannot read {error.filename}: {error.strerror}") from error


def _add(total: "hashlib._Hash", name: str, digest: bytes) -> None:
    encoded = name.encode("utf-8", "surrogateescape")
    # The length keeps two names from running into one another.
    total.update(len(encoded).to_bytes(8, "big") + encoded + digest)


def _digest_of_reason(reason: str) -> bytes:
    return hashlib.sha256(reason.encode()).digest()


def _digest(path: pathlib.Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()

"""A root as a caller gives it: a folder, or a URI in an object store."""

import os
import pathlib

from storage import mirror

StrPath = str | os.PathLike[str]


def local(root: StrPath, *, pulls: bool = True) -> pathlib.Path:
    """The folder to work in: the root itself, or its mirror.

    Args:
      root: a folder or a URI.
      pulls: whether to bring the mirror up to date.

    Raises:
      ConfigError: the object store does not answer.
    """
    if not mirror.concerns(root):
        return pathlib.Path(root)
    from pipeline.runs import remote_roots

    return remote_roots.local(root, pulls=pulls)

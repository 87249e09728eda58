"""Roots as callers give them: a folder, or a URI in an object store."""

import os
import pathlib

from storage import mirror


def local(root: str | os.PathLike[str]) -> pathlib.Path:
    """The folder to work in: the root itself, or its mirror, brought up to date.

    Raises:
      ConfigError: an object store gives no answer.
    """
    if not mirror.concerns(root):
        return pathlib.Path(root)
    from pipeline.runs import remote_roots

    return remote_roots.local(root)

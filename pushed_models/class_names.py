"""Class names that a SavedModel brings along."""

import pathlib

from pushed_models import signatures
from schema.spelling import listed

__all__ = ["listed", "of_model"]


def of_model(folder: pathlib.Path) -> tuple[str, ...]:
    """Class names in label order, from `assets/labels.txt` of a SavedModel.

    Raises:
      OSError, UnicodeDecodeError: there is no such asset, or it is no text.
    """
    path = folder / "assets" / signatures.LABELS_ASSET
    lines = path.read_text(encoding="utf-8").split("\n")
    return tuple(line.rstrip("\r") for line in lines if line.strip())

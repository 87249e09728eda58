"""Class names: those that a SavedModel brings along, and lists of them in sentences."""

import pathlib
from collections.abc import Sequence

from pushed_models import signatures

_MOST_LISTED = 5


def of_model(folder: pathlib.Path) -> tuple[str, ...]:
    """Class names in label order, from `assets/labels.txt` of a SavedModel.

    Raises:
      OSError, UnicodeDecodeError: there is no such asset, or it is no text.
    """
    path = folder / "assets" / signatures.LABELS_ASSET
    lines = path.read_text(encoding="utf-8").split("\n")
    return tuple(line.rstrip("\r") for line in lines if line.strip())


def listed(names: Sequence[str], most: int = _MOST_LISTED) -> str:
    """'a, b, c'; after `most` names the number of those left out."""
    more = len(names) - most
    text = ", ".join(names[:most])
    return f"{text} and {more:,} more" if more > 0 else text

"""Labels of the Examples of a file, kept beside them so that no one reads images for them.

Those of `<artifact>/Split-<split>/<name>.gz` lie in `<artifact>/labels/<split>/<name>.npy`:
stock components read whatever is in the folder of a split.
"""

import io
import posixpath
import re

import numpy as np

_SPLIT_PREFIX = "Split-"


def path_of(file: str) -> str:
    """Path or URI of the labels of the TFRecord `file`."""
    folder, name = posixpath.split(file)
    root, split = posixpath.split(folder)
    stem = re.sub(r"\.gz$", "", name)
    return f"{root}/labels/{split.removeprefix(_SPLIT_PREFIX)}/{stem}.npy"


def encode(labels: np.ndarray) -> bytes:
    """Content of the file; `labels` are integers [num_examples] in file order."""
    file = io.BytesIO()
    np.save(file, labels.astype(np.int32))
    return file.getvalue()


def decode(content: bytes) -> np.ndarray | None:
    """Labels int64 [num_examples]; None where the content is none of `encode`."""
    try:
        labels = np.load(io.BytesIO(content))
    except (ValueError, OSError, EOFError):
        return None
    if not isinstance(labels, np.ndarray) or labels.dtype != np.int32:
        return None
    return labels.astype(np.int64) if labels.ndim == 1 else None

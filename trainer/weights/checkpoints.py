"""Finds the checkpoint of a trained model. No TensorFlow: settings are checked with it."""

import glob
import pathlib

from common.errors import ConfigError

# Where a SavedModel keeps its checkpoint.
SAVED_MODEL_VARIABLES = pathlib.PurePath("variables", "variables")
INDEX = ".index"
# Last bytes of a table, the form of an `.index` and of a whole V1 checkpoint.
# Reference: tensorflow/core/lib/io/format.h, kTableMagicNumber.
TABLE_MAGIC = bytes.fromhex("57fb808b247547db")


def checkpoint_in(path: str) -> str:
    """The checkpoint at `path`, as a Saver takes it.

    Args:
      path: a pushed version or another SavedModel; a checkpoint without its ending or with
        `.index`; a V1 checkpoint, which is one file.

    Raises:
      ConfigError: there is none.
    """
    found = find(pathlib.Path(path))
    if found is None:
        raise ConfigError(
            f"no weights in {path} to start from (train.weights)",
            expected="a pushed version, a SavedModel, or a checkpoint 'model.ckpt-N'",
            tip="slimline weights import FILE --net NET reads files of other systems",
        )
    return str(found)


def find(path: pathlib.Path) -> pathlib.Path | None:
    """The checkpoint's prefix, or the file of a V1 checkpoint; None where there is none."""
    try:
        if path.name.endswith(INDEX) and path.is_file():
            return path.with_name(path.name.removesuffix(INDEX))
        for candidate in (path / SAVED_MODEL_VARIABLES, path):
            index = candidate.parent / f"{candidate.name}{INDEX}"
            if candidate.name and index.is_file():
                return candidate
        return path if is_table(path) else None
    except OSError:  # a name too long for a file
        return None


def is_table(path: pathlib.Path) -> bool:
    """Whether `path` is a file in the form of a V1 checkpoint."""
    if not path.is_file() or path.stat().st_size < len(TABLE_MAGIC):
        return False
    with path.open("rb") as file:
        file.seek(-len(TABLE_MAGIC), 2)
        return file.read() == TABLE_MAGIC


def files_of(checkpoint: pathlib.Path) -> list[pathlib.Path]:
    """The files of a checkpoint that `find` returned, in order of their names."""
    index = checkpoint.with_name(f"{checkpoint.name}{INDEX}")
    if not index.is_file():
        return [checkpoint]
    data = checkpoint.parent.glob(f"{glob.escape(checkpoint.name)}.data-*-of-*")
    return [*sorted(data), index]

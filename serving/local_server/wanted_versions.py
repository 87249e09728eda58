"""The versions and labels that the folder of the models asks a server to serve."""

import dataclasses
import functools
import logging
import pathlib
from collections.abc import Collection, Mapping

from pushed_models import models_config, versions
from serving.local_server import errors

_LOGGER = logging.getLogger("slimline.serving")


@dataclasses.dataclass(frozen=True)
class Wanted:
    """The wanted versions of one model."""

    # Number -> folder of each existing version.
    folders: Mapping[int, pathlib.Path] = dataclasses.field(default_factory=dict)
    # Wanted versions, most urgent first: all of those that models.config names; if it
    # names none, the first of all versions that can be loaded.
    numbers: tuple[int, ...] = ()
    is_pinned: bool = False  # whether models.config names them
    # Label -> version.
    labels: Mapping[str, int] = dataclasses.field(default_factory=dict)
    # Versions that models.config names and that do not exist.
    missing: tuple[int, ...] = ()
    is_gone: bool = False  # whether the folder of the model was removed


GONE = Wanted(is_gone=True)


def look(serving_folder: pathlib.Path, served: Collection[str]) -> dict[str, Wanted]:
    """The wanted versions of each model, by name.

    Args:
      serving_folder: of the models, `<root>/serving`; it may not exist yet.
      served: models served so far; they are kept as long as their folder exists.

    Raises:
      ConfigError, OSError: the folder, or models.config in it, cannot be read.
    """
    if not served and not serving_folder.is_dir():
        return {}
    entries = models_config.read(serving_folder)
    models = {}
    named = map(serving_folder.joinpath, entries)
    for path in sorted({*serving_folder.iterdir(), *named}):
        folders = versions.folders(path)
        is_known = path.name in entries or (path.name in served and path.is_dir())
        if (folders or is_known) and _is_valid_name(path.name):
            entry = entries.get(path.name, models_config.Entry())
            models[path.name] = _wanted(entry, folders)
    return models


@functools.cache  # one warning for each name
def _is_valid_name(name: str) -> bool:
    if errors.NAME.fullmatch(name) and not name.startswith("."):
        return True
    _LOGGER.warning(
        "model %r is left out: a name has 1 to 64 letters, digits, '_', '.', '-'", name
    )
    return False


def _wanted(entry: models_config.Entry, folders: Mapping[int, pathlib.Path]) -> Wanted:
    named = {*entry.versions, *entry.labels.values()}
    stable = entry.labels.get(models_config.STABLE)
    newest_first = sorted(folders, reverse=True)
    pinned = [number for number in newest_first if number in named]
    return Wanted(
        folders=folders,
        # As in `Entry.live`, the newest is served if no named version exists.
        numbers=tuple(sorted(pinned or newest_first, key=lambda one: one != stable)),
        is_pinned=bool(pinned),
        labels=entry.labels,
        missing=tuple(sorted(named - folders.keys())),
    )

"""What the models folder asks for: which versions of which models, under which labels."""

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
    """What is asked for of one model.

    Attributes:
      folders: number -> folder of each version that is there.
      numbers: versions to serve, the most urgent first: those that models.config names, or
        all, of which the newest sound one is meant.
      is_pinned: whether they are named, and all are meant.
      labels: label -> version.
      missing: versions that are named, but not there.
      is_gone: whether the model was removed, folder and all.
    """

    folders: Mapping[int, pathlib.Path] = dataclasses.field(default_factory=dict)
    numbers: tuple[int, ...] = ()
    is_pinned: bool = False
    labels: Mapping[str, int] = dataclasses.field(default_factory=dict)
    missing: tuple[int, ...] = ()
    is_gone: bool = False


GONE = Wanted(is_gone=True)


def look(serving_folder: pathlib.Path, served: Collection[str]) -> dict[str, Wanted]:
    """What each model is to serve, by name; those that are gone are left out.

    Args:
      serving_folder: the models, `<root>/serving`; it may appear later.
      served: models known so far; of these only one whose folder is removed is gone.

    Raises:
      ConfigError, OSError: the folder, or models.config in it, cannot be read.
    """
    if not served and not serving_folder.is_dir():
        return {}
    entries = models_config.read(serving_folder)
    found = {}
    for path in sorted(
        {*serving_folder.iterdir(), *map(serving_folder.joinpath, entries)}
    ):
        folders = versions.folders(path)
        is_known = path.name in entries or (path.name in served and path.is_dir())
        if (folders or is_known) and _can_be_asked(path.name):
            found[path.name] = _wanted(
                entries.get(path.name, models_config.Entry()), folders
            )
    return found


@functools.cache  # each name is warned of once
def _can_be_asked(name: str) -> bool:
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
        # As `Entry.live`: pins that lead nowhere leave the newest.
        numbers=tuple(sorted(pinned or newest_first, key=lambda one: one != stable)),
        is_pinned=bool(pinned),
        labels=entry.labels,
        missing=tuple(sorted(named - folders.keys())),
    )

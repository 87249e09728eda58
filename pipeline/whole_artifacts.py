"""Cached artifacts whose files are gone, which TFX would serve: it asks for their folder only.

The files of an artifact are counted when its component ends. Before the component runs
again, artifacts that hold fewer are removed, so that the cache misses them.
"""

import logging
import pathlib
import shutil
from collections.abc import Iterable

from tfx import types
from tfx.orchestration import metadata

FILES = "files"
_LOGGER = logging.getLogger("slimline.run")


def note(handle: metadata.Metadata, artifacts: Iterable[types.Artifact]) -> None:
    """Writes down how many files the artifacts of an execution hold."""
    noted = []
    for artifact in artifacts:
        folder = pathlib.Path(artifact.uri)
        if folder.is_dir() and not folder.is_symlink():
            artifact.set_int_custom_property(FILES, _count(folder))
            noted.append(artifact.mlmd_artifact)
    if noted:
        handle.store.put_artifacts(noted)


def drop_incomplete(handle: metadata.Metadata, folder: pathlib.Path) -> None:
    """Removes artifacts of a component that have lost files.

    Args:
      handle: an open connection.
      folder: of the component, `<pipeline root>/<component>`.
    """
    for place in folder.glob("[!.]*/*"):  # <channel>/<execution>
        if place.is_symlink() or not place.is_dir():
            continue
        for artifact in handle.store.get_artifacts_by_uri(str(place)):
            # One that was made before its files were counted has one at least.
            known = artifact.custom_properties.get(FILES)
            count = known.int_value if known is not None else 1
            if _count(place) < count:
                _LOGGER.warning("files of %s are gone: it is made again", place)
                shutil.rmtree(place)
                break


def _count(folder: pathlib.Path) -> int:
    return sum(not path.is_dir() for path in folder.rglob("*"))

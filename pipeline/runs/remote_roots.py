"""A root in an object store: copied to a local mirror before a command, and back after a run.

Locks, unfinished trainings and the metadata store in use need a file system: the mirror.
Artifacts and models go to the store when they are finished (`storage.mirror`), folders of
runs and the metadata store at the end of a run.
"""

import contextlib
import fcntl
import json
import logging
import os
import pathlib
import sqlite3
from collections.abc import Collection, Iterator, Mapping

from common.errors import ConfigError, SlimlineError
from common.run_files import METADATA_FILE
from pipeline.runs import runs
from pushed_models import mirrored_models, versions
from storage import durable, mirror, remote

# State of the store and of the mirror when they were last equal.
_SYNCED_FILE = ".metadata.synced"
_IN_USE_FILE = ".metadata.in_use"
_PATHS = (  # columns of ML Metadata with paths below the root
    ("Artifact", "uri"),
    ("ArtifactProperty", "string_value"),
    ("ExecutionProperty", "string_value"),
)
_LOGGER = logging.getLogger("slimline.remote")


def local(root: str | os.PathLike[str], *, pulls: bool = True) -> pathlib.Path:
    """The mirror of a root in a store.

    Args:
      root: its URI, or the mirror (`mirror.concerns`).
      pulls: whether to update models, folders of runs and metadata of the mirror.

    Raises:
      ConfigError: the store does not answer.
    """
    known = None if remote.is_uri(root) else mirror.of(pathlib.Path(root))
    found = known or mirror.make(os.fspath(root))
    if pulls:
        mirrored_models.pull(found.folder / versions.SERVING_FOLDER)
        top = found.store.top()
        _pull_runs(found, [name for name, entry in top.items() if entry is None])
        _pull_metadata(found, _tag(top))
        if runs.SCHEMA_FOLDER in top:  # contracts of the user's own
            names = found.store.below(runs.SCHEMA_FOLDER)
            found.store.get({name: found.folder / name for name in names})
    return found.folder


@contextlib.contextmanager
def in_use(root: pathlib.Path, identity: str) -> Iterator[None]:
    """Protects a mirror's metadata store from replacement; fetches artifact outlines."""
    if not (found := mirror.of(root)):
        yield
        return
    with (found.folder / _IN_USE_FILE).open("w") as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        mirror.fetch_outlines(found.folder / identity)
        yield


@contextlib.contextmanager
def brought_back(run: pathlib.Path) -> Iterator[None]:
    """Copies a run's folder and the metadata store to the object store after the block.

    Args:
      run: folder of the run; copies nothing where it is gone, as that of a run that was
        refused before it started.

    Raises:
      ConfigError: the block succeeded, and the copy failed.
    """
    try:
        yield
    except BaseException:
        try:
            _bring_back(run)
        except (SlimlineError, OSError) as error:
            _LOGGER.warning("%s stays on this machine: %s", run, error)
        raise
    try:
        _bring_back(run)
    except ConfigError as error:
        raise ConfigError(
            f"the run is done, but its folder stays on this machine: {error.message}",
            found=error.found,
            tip=f"its models and artifacts are stored; the folder is {run}",
        ) from error


def _bring_back(run: pathlib.Path) -> None:
    if not (found := mirror.of(run)) or not run.is_dir():
        return
    files = {found.name(path): path for path in run.rglob("*") if path.is_file()}
    # Settings last: with them readers take the folder for complete.
    settings = found.name(run / runs.CONFIG_FILE)
    found.store.put({name: path for name, path in files.items() if name != settings})
    found.store.put({name: path for name, path in files.items() if name == settings})
    _push_metadata(found)


def _pull_runs(found: mirror.Mirror, folders: Collection[str]) -> None:
    """Fetches folders of runs, settings last: with them a folder is complete."""
    files: dict[str, pathlib.Path] = {}
    settings: dict[str, pathlib.Path] = {}
    for run in sorted(filter(runs.is_name, folders)):
        name = f"{run}/{runs.CONFIG_FILE}"
        if (found.folder / name).exists():
            continue
        names = found.store.below(run)
        if name in names:
            files |= {each: found.folder / each for each in names if each != name}
            settings[name] = found.folder / name
    found.store.get(files)
    found.store.get(settings)


def _push_metadata(found: mirror.Mirror) -> None:
    """Stores a copy of the metadata store, with URIs for paths."""
    path = found.folder / METADATA_FILE
    if not path.exists() or _synced(found).get("local") == _state(path):
        return
    state = _state(path)
    copy = found.folder / f".{METADATA_FILE}.out-{os.getpid()}"
    try:
        with (
            contextlib.closing(sqlite3.connect(path)) as source,
            contextlib.closing(sqlite3.connect(copy)) as target,
        ):
            source.backup(target)
            _move_paths(target, str(found.folder), found.store.uri)
        found.store.put({METADATA_FILE: copy})
    finally:
        copy.unlink(missing_ok=True)
    _note_synced(found, _tag(found.store.top()), state)


def _tag(top: Mapping[str, remote.Found | None]) -> str:
    """Tag of the metadata in the store; '' where there are none."""
    entry = top.get(METADATA_FILE)
    return entry.tag if entry else ""


def _pull_metadata(found: mirror.Mirror, tag: str) -> None:
    """Fetches metadata that changed in the store and not here, unless a run is in progress."""
    path = found.folder / METADATA_FILE
    synced = _synced(found)
    if path.exists() and synced.get("local") != _state(path):
        return
    if not tag or (path.exists() and synced.get("tag") == tag):
        return
    with (found.folder / _IN_USE_FILE).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        copy = found.folder / f".{METADATA_FILE}.in-{os.getpid()}"
        try:
            found.store.get({METADATA_FILE: copy})
            with contextlib.closing(sqlite3.connect(copy)) as store:
                _move_paths(store, found.store.uri, str(found.folder))
                _count_on(store, mirror.first_number(found.folder))
            copy.replace(path)
        except sqlite3.DatabaseError as error:
            _LOGGER.warning("%s has unusable metadata: %s", found.store.uri, error)
            return
        finally:
            copy.unlink(missing_ok=True)
        _note_synced(found, tag, _state(path))


def _move_paths(store: sqlite3.Connection, before: str, after: str) -> None:
    with store:
        for table, column in _PATHS:
            store.execute(
                f"UPDATE {table} SET {column} = ? || substr({column}, ?)"
                f" WHERE substr({column}, 1, ?) = ?",
                (after, len(before) + 1, len(before) + 1, f"{before}/"),
            )


def _count_on(store: sqlite3.Connection, number: int) -> None:
    """Sets the next execution number to one that no other machine gives."""
    with store:
        changed = store.execute(
            "UPDATE sqlite_sequence SET seq = max(seq, ?) WHERE name = 'Execution'",
            (number,),
        )
        if not changed.rowcount:
            store.execute(
                "INSERT INTO sqlite_sequence (name, seq) VALUES ('Execution', ?)",
                (number,),
            )


def _synced(found: mirror.Mirror) -> dict:
    try:
        document = json.loads((found.folder / _SYNCED_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return document if isinstance(document, dict) else {}


def _note_synced(found: mirror.Mirror, tag: str, state: list[int]) -> None:
    document = {"tag": tag, "local": state}
    durable.write_text(found.folder / _SYNCED_FILE, json.dumps(document))


def _state(path: pathlib.Path) -> list[int]:
    found = path.stat()
    return [found.st_size, found.st_mtime_ns]

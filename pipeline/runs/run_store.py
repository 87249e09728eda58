"""The metadata store of a root: connects to it, and replaces one that is damaged.

Pushed models and the folders of runs do not need it. The cache does: without its rows
everything is computed again.
"""

import contextlib
import datetime
import logging
import pathlib
import sqlite3

from ml_metadata import metadata_store
from ml_metadata.proto import metadata_store_pb2

from common.errors import ConfigError
from storage import locks, mirror

# Tables that every store of ML Metadata has.
TABLES = frozenset({"MLMDEnv", "Type", "Artifact", "Execution", "Event", "Context"})
LOCK_SECONDS = 60.0
_LOGGER = logging.getLogger("slimline.run")


def prepare(path: pathlib.Path) -> None:
    """Sets aside a store that is damaged or another program's, and creates a new one.

    Args:
      path: of the store; its folder is the root of the runs.

    Raises:
      ConfigError: it cannot be read, written or locked.
    """
    with locks.acquire(path.with_name(f".{path.name}.lock"), LOCK_SECONDS):
        if problem := damage(path):
            aside = _set_aside(path)
            _LOGGER.warning(
                "the metadata store was unusable (%s) and is now %s; a new one is created:"
                " pushed models and folders of runs stay, everything else is computed"
                " again",
                problem,
                aside,
            )
        last = max(_last_execution(path.parent), mirror.first_number(path.parent))
        if not path.exists() and last:
            _begin(path, last)


def damage(path: pathlib.Path) -> str:
    """Why ML Metadata cannot use a store; '' where it can, or there is none.

    Raises:
      ConfigError: it cannot be read or written by this user, or is locked.
    """
    if not path.exists() and not path.is_symlink():
        return ""
    if not path.is_file():
        return "it is not a file"
    try:
        uri = f"{path.absolute().as_uri()}?mode=rw"
        with contextlib.closing(sqlite3.connect(uri, LOCK_SECONDS, uri=True)) as store:
            ((verdict,), *_) = store.execute("PRAGMA quick_check(1)")
            listed = store.execute("SELECT name FROM sqlite_master WHERE type='table'")
            tables = {name for (name,) in listed}
    except sqlite3.OperationalError as error:
        raise ConfigError(
            f"the metadata store {path} cannot be opened",
            found=str(error),
            tip="make it and its folder writable, or wait for the program that holds it",
        ) from error
    except sqlite3.DatabaseError as error:
        return str(error)
    if verdict != "ok":
        return str(verdict).splitlines()[-1]
    if not tables >= TABLES:
        return "it lacks tables of ML Metadata"
    try:
        connect(path)
    except RuntimeError as error:  # as of a later version of ML Metadata
        return "" if "locked" in str(error) else str(error).partition(". ")[0]
    return ""


def connect(
    path: pathlib.Path, *, is_read_only: bool = False
) -> metadata_store.MetadataStore:
    """The store at `path`, created where missing unless `is_read_only`."""
    connection = metadata_store_pb2.ConnectionConfig()
    connection.sqlite.filename_uri = str(path)
    mode = "READONLY" if is_read_only else "READWRITE_OPENCREATE"
    connection.sqlite.connection_mode = (
        metadata_store_pb2.SqliteMetadataSourceConfig.ConnectionMode.Value(mode)
    )
    return metadata_store.MetadataStore(connection)


def _set_aside(path: pathlib.Path) -> pathlib.Path:
    """Renames the store and SQLite's files beside it; returns its new path."""
    now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H%M%S")
    aside = path.with_name(f"{path.name}.damaged-{now}")
    for suffix in ("-journal", "-wal", "-shm"):
        beside = path.with_name(path.name + suffix)
        if beside.exists():
            beside.rename(aside.with_name(aside.name + suffix))
    path.rename(aside)
    return aside


def _last_execution(root: pathlib.Path) -> int:
    """The highest execution number that an artifact folder has; 0 for none."""
    places = root.glob("*/*/*/*")  # <identity>/<component>/<channel>/<execution>
    return max(
        (int(place.name) for place in places if place.name.isdecimal()), default=0
    )


def _begin(path: pathlib.Path, last_execution: int) -> None:
    """Creates a store that continues the execution numbers, which name artifact folders."""
    unfinished = path.with_name(f".{path.name}.new")
    unfinished.unlink(missing_ok=True)
    connect(unfinished)
    with contextlib.closing(sqlite3.connect(unfinished)) as store, store:
        store.execute(
            "INSERT INTO sqlite_sequence (name, seq) VALUES ('Execution', ?)",
            (last_execution,),
        )
    unfinished.rename(path)

"""The metadata store of a root: one that is damaged is set aside, and a new one begun.

What was pushed and the folders of runs need no store. The cache does: without its rows
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

# Tables without which it is no store of ML Metadata.
TABLES = frozenset({"MLMDEnv", "Type", "Artifact", "Execution", "Event", "Context"})
LOCK_SECONDS = 60.0
_LOGGER = logging.getLogger("slimline.run")


def prepare(path: pathlib.Path) -> None:
    """Sets the store aside where it is damaged or another program's, and begins a new one.

    Args:
      path: of the store; its folder is the root of the runs.

    Raises:
      ConfigError: it cannot be read, written or locked.
    """
    with locks.acquire(path.with_name(f".{path.name}.lock"), LOCK_SECONDS):
        if problem := damage(path):
            aside = _set_aside(path)
            _LOGGER.warning(
                "the metadata store was unusable (%s) and is now %s; a new one begins:"
                " pushed models and folders of runs stay, everything else is computed"
                " again",
                problem,
                aside,
            )
        last = max(_last_execution(path.parent), mirror.first_number(path.parent))
        if not path.exists() and last:
            _begin(path, last)


def damage(path: pathlib.Path) -> str:
    """Why ML Metadata cannot use a store, or ''; one that is not there is no damage.

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
        _open(path)
    except RuntimeError as error:  # as of a later version of ML Metadata
        if "locked" in str(error):
            return ""
        return str(error).partition(". ")[0]
    return ""


def _open(path: pathlib.Path) -> metadata_store.MetadataStore:
    connection = metadata_store_pb2.ConnectionConfig()
    connection.sqlite.filename_uri = str(path)
    connection.sqlite.connection_mode = (
        metadata_store_pb2.SqliteMetadataSourceConfig.READWRITE_OPENCREATE
    )
    return metadata_store.MetadataStore(connection)


def _set_aside(path: pathlib.Path) -> pathlib.Path:
    """Renames the store and what SQLite keeps beside it; gives its new name."""
    now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H%M%S")
    aside = path.with_name(f"{path.name}.damaged-{now}")
    for suffix in ("-journal", "-wal", "-shm"):
        beside = path.with_name(path.name + suffix)
        if beside.exists():
            beside.rename(aside.with_name(aside.name + suffix))
    path.rename(aside)
    return aside


def _last_execution(root: pathlib.Path) -> int:
    """The highest number of an execution whose folder is there; 0 for none."""
    places = root.glob("*/*/*/*")  # <identity>/<component>/<channel>/<execution>
    return max(
        (int(place.name) for place in places if place.name.isdecimal()), default=0
    )


def _begin(path: pathlib.Path, last_execution: int) -> None:
    """A store whose executions are numbered on, so that none gets a folder that is taken."""
    unfinished = path.with_name(f".{path.name}.new")
    unfinished.unlink(missing_ok=True)
    _open(unfinished)
    with contextlib.closing(sqlite3.connect(unfinished)) as store, store:
        store.execute(
            "INSERT INTO sqlite_sequence (name, seq) VALUES ('Execution', ?)",
            (last_execution,),
        )
    unfinished.rename(path)

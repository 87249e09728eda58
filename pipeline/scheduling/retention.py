"""Deletes the artifacts of old runs, and nothing that a served model or a kept run needs.

The metadata store keeps its rows: an artifact whose files are gone is marked as deleted, as
TFX marks what it collects, so that lineage can still be told. TFX's cache asks whether
files exist, so they vanish at once, by a rename, before they are deleted.
"""

import dataclasses
import glob
import logging
import pathlib
import shutil
import uuid
from collections.abc import Collection, Iterator

import filelock
from ml_metadata import metadata_store
from ml_metadata.proto import metadata_store_pb2

from pipeline import lineage, runs
from pipeline.scheduling.ledger import Ledger
from pipeline.scheduling.rows import RUNNING, Row
from schema import durable, locks, manifest, models_config, versions

RUN_CONTEXT = "pipeline_run"
PUSHED_MODEL = "PushedModel"
_HIDDEN_PREFIX = ".deleting-"
# What stays in the folder of a run: what it was asked, and what came of it.
KEPT_FILES = frozenset({runs.CONFIG_FILE, runs.SUMMARY_FILE})
_LOGGER = logging.getLogger("slimline.schedule")
_STATE = metadata_store_pb2.Artifact.State


@dataclasses.dataclass(frozen=True)
class Pruned:
    """What was deleted.

    Attributes:
      runs: names of the runs of which nothing is left but their rows and figures. Others
        may still hold what a served model came from; they are asked for again next time.
      artifacts: how many.
      size_bytes: of their files.
    """

    runs: tuple[str, ...] = ()
    artifacts: int = 0
    size_bytes: int = 0


def tidy(
    ledger: Ledger, root: pathlib.Path, identity: str, keep_runs: int, row: Row
) -> None:
    """Deletes the artifacts of old runs that a schedule has begun; others are left alone.

    Args:
      ledger: names the runs.
      root: of the runs.
      identity: of the runs, as in `prune`.
      keep_runs: runs whose artifacts stay, that of `row` included; 0 keeps all.
      row: its run has just ended, and it is still running.
    """
    if not keep_runs:
        return
    others = ledger.rows(
        "pipeline = ? AND runs != '' AND is_pruned = 0 AND state != ?"
        " ORDER BY started, id",
        row.pipeline,
        RUNNING,
    )
    old = others[: max(0, len(others) - (keep_runs - 1))]
    gone = ledger.rows("pipeline = ? AND is_pruned = 1", row.pipeline)
    pruned = prune(root, identity, _names(old), _names(gone))
    if pruned is None:  # a run is under way: the next one tidies up
        return
    finished = set(pruned.runs)
    ledger.write(
        "UPDATE slots SET is_pruned = 1 WHERE id = ?",
        *([other.id] for other in old if _names([other]) <= finished),
    )


def prune(
    root: pathlib.Path,
    identity: str,
    old_runs: Collection[str],
    gone_runs: Collection[str] = (),
) -> Pruned | None:
    """Deletes the artifacts of some runs; None where a run is under way.

    Args:
      root: of the runs.
      identity: of the runs, whose artifacts lie in `<root>/<identity>`.
      old_runs: names of the runs to delete.
      gone_runs: names of those that were deleted before.
    """
    root = root.resolve()
    if not old_runs or not (root / lineage.METADATA_FILE).is_file():
        return Pruned()
    file = runs.lock_file(root, identity)
    try:
        with locks.acquire(file, is_singleton=True):
            return _prune(root, root / identity, set(old_runs), set(gone_runs))
    except filelock.Timeout:
        return None


def _prune(
    root: pathlib.Path, folder: pathlib.Path, old: set[str], gone: set[str]
) -> Pruned:
    store = _open(root)
    needed = set(_needed(store, root))
    finished = []
    count = size_bytes = 0
    for name in sorted(old):
        context = store.get_context_by_type_and_name(RUN_CONTEXT, name)
        is_needed = False
        for artifact in store.get_artifacts_by_context(context.id) if context else []:
            # What another run holds as well goes when that one does.
            is_shared = not _runs_of(store, artifact.id) <= old | gone
            if artifact.state == _STATE.DELETED or is_shared:
                continue
            if artifact.id in needed:
                is_needed = True
            else:
                size_bytes += _delete(store, artifact, folder)
                count += 1
        if is_needed:
            continue
        for execution in store.get_executions_by_context(context.id) if context else []:
            # What TFX has put down for single executions.
            for path in folder.glob(f"*/.system/executor_execution/{execution.id}"):
                _remove(path)
        for path in (root / name).glob("*"):
            if path.name not in KEPT_FILES:
                _remove(path)
        finished.append(name)
    if count:
        _LOGGER.info("deleted %d artifacts, %d bytes", count, size_bytes)
    return Pruned(tuple(finished), count, size_bytes)


def _open(root: pathlib.Path) -> metadata_store.MetadataStore:
    connection = metadata_store_pb2.ConnectionConfig()
    connection.sqlite.filename_uri = str(root / lineage.METADATA_FILE)
    connection.sqlite.connection_mode = (
        metadata_store_pb2.SqliteMetadataSourceConfig.READWRITE
    )
    return metadata_store.MetadataStore(connection)


def _needed(store: metadata_store.MetadataStore, root: pathlib.Path) -> Iterator[int]:
    """Artifacts that led to a served version, and that version's own."""
    served = set(_served(root / versions.SERVING_FOLDER))
    waiting = {
        artifact.id
        for artifact in store.get_artifacts_by_type(PUSHED_MODEL)
        if artifact.custom_properties["pushed_destination"].string_value in served
    }
    seen: set[int] = set()
    while waiting:
        seen |= waiting
        makers = {
            event.execution_id
            for event in store.get_events_by_artifact_ids(sorted(waiting))
            if event.type == metadata_store_pb2.Event.OUTPUT
        }
        waiting = {
            event.artifact_id
            for event in store.get_events_by_execution_ids(sorted(makers))
        } - seen
    yield from seen


def _served(folder: pathlib.Path) -> Iterator[str]:
    """Folders of the versions that servers load, or that are live."""
    for name, entry in models_config.read(folder).items():
        complete = versions.numbers(folder / name)
        named = {entry.live(complete), *entry.versions, *entry.labels.values()}
        for number in named - {None}:
            yield str(folder / name / str(number))


def _names(rows: Collection[Row]) -> set[str]:
    """Names of the runs of some rows."""
    return {name for row in rows for name in row.runs.split()}


def _runs_of(store: metadata_store.MetadataStore, artifact: int) -> set[str]:
    """Names of the runs that made an artifact, or took it from the cache."""
    contexts = store.get_contexts_by_artifact(artifact)
    return {context.name for context in contexts if context.type == RUN_CONTEXT}


def _delete(
    store: metadata_store.MetadataStore,
    artifact: metadata_store_pb2.Artifact,
    folder: pathlib.Path,
) -> int:
    """Deletes the files of an artifact; gives their bytes."""
    path = pathlib.Path(artifact.uri)
    # Nothing but what TFX has made for this experiment.
    if folder not in path.parents:
        return 0
    artifact.state = _STATE.MARKED_FOR_DELETION
    store.put_artifacts([artifact])
    size_bytes = _remove(path)
    manifest.beside(path).unlink(missing_ok=True)
    artifact.state = _STATE.DELETED
    store.put_artifacts([artifact])
    return size_bytes


def _remove(path: pathlib.Path) -> int:
    """Deletes a file, a link or a folder; what it was is never seen half."""
    for left in path.parent.glob(f"{_HIDDEN_PREFIX}{glob.escape(path.name)}-*"):
        shutil.rmtree(left, ignore_errors=True)
    if path.is_symlink() or path.is_file():
        size_bytes = path.lstat().st_size
        path.unlink()
        return size_bytes
    if not path.is_dir():
        return 0
    size_bytes = sum(
        inner.lstat().st_size for inner in path.rglob("*") if not inner.is_dir()
    )
    name = f"{_HIDDEN_PREFIX}{path.name}-{uuid.uuid4().hex}"
    hidden = path.rename(path.with_name(name))
    durable.sync(path.parent)
    shutil.rmtree(hidden, ignore_errors=True)
    return size_bytes

"""Deletes the artifacts of old runs that no served model and no kept run needs.

The metadata store keeps its rows for lineage and marks the artifacts as deleted, as TFX's
garbage collection does. TFX's cache asks whether files exist, so a rename hides a folder
before it is deleted.
"""

import glob
import itertools
import logging
import pathlib
import shutil
import uuid
from collections.abc import Collection, Iterator

from ml_metadata import metadata_store
from ml_metadata.proto import metadata_store_pb2

from common.errors import ConfigError
from pipeline.runs import lineage, run_store, runs
from pushed_models import models_config, versions
from storage import durable, manifest, mirror

RUN_CONTEXT = "pipeline_run"
PUSHED_MODEL = "PushedModel"
_HIDDEN_PREFIX = ".deleting-"
# Stay in the folder of a run: its settings and its result.
KEPT_FILES = frozenset({runs.CONFIG_FILE, runs.SUMMARY_FILE})
_LOGGER = logging.getLogger("slimline.retention")
_STATE = metadata_store_pb2.Artifact.State


def prune(
    root: pathlib.Path, identity: str, old_runs: Collection[str]
) -> frozenset[str]:
    """Deletes the artifacts of some runs.

    Args:
      root: of the runs.
      identity: of the runs, whose artifacts lie in `<root>/<identity>`.
      old_runs: names of the runs to delete.

    Returns:
      Names of the runs of which only metadata, settings and figures are left. The others
      hold the lineage of a served model, or a run is in progress: pass them again next time.
    """
    root = root.resolve()
    if not old_runs or not (root / lineage.METADATA_FILE).is_file():
        return frozenset()
    try:
        lock = runs.lock(root, identity)
    except ConfigError:
        return frozenset()
    with lock:
        return frozenset(_prune(root, root / identity, set(old_runs)))


def _prune(root: pathlib.Path, folder: pathlib.Path, old: set[str]) -> Iterator[str]:
    store = run_store.connect(root / lineage.METADATA_FILE)
    needed = _needed(store, root)
    sizes_bytes = []
    for name in sorted(old):
        context = store.get_context_by_type_and_name(RUN_CONTEXT, name)
        is_needed = False
        for artifact in store.get_artifacts_by_context(context.id) if context else []:
            # An artifact of several runs goes with the last of them.
            others = _runs_of(store, artifact.id) - old
            is_shared = not all(_is_pruned(root / other) for other in others)
            if artifact.state == _STATE.DELETED or is_shared:
                continue
            if artifact.id in needed:
                is_needed = True
            else:
                sizes_bytes.append(_delete(store, artifact, folder))
        if is_needed:
            continue
        for execution in store.get_executions_by_context(context.id) if context else []:
            # TFX's files about single executions.
            for path in folder.glob(f"*/.system/executor_execution/{execution.id}"):
                _remove(path)
        for path in (root / name).glob("*"):
            if path.name not in KEPT_FILES:
                _remove(path)
        yield name
    if sizes_bytes:
        _LOGGER.info(
            "deleted %d artifacts, %d bytes", len(sizes_bytes), sum(sizes_bytes)
        )


def _is_pruned(run: pathlib.Path) -> bool:
    """Whether `prune` has been through the folder of a run."""
    return run.is_dir() and {path.name for path in run.iterdir()} <= KEPT_FILES


def _needed(store: metadata_store.MetadataStore, root: pathlib.Path) -> set[int]:
    """Artifacts of the served versions and of their lineage."""
    served = set(_served(root / versions.SERVING_FOLDER))
    pushed = {
        artifact.id
        for artifact in store.get_artifacts_by_type(PUSHED_MODEL)
        if artifact.custom_properties["pushed_destination"].string_value in served
    }
    events = itertools.chain.from_iterable(lineage.upstream(store, pushed).values())
    return pushed | {event.artifact_id for event in events}


def _served(folder: pathlib.Path) -> Iterator[str]:
    """Folders of the versions that servers load or that are live."""
    for name, entry in models_config.read(folder).items():
        complete = versions.numbers(folder / name)
        named = {entry.live(complete), *entry.versions, *entry.labels.values()}
        for number in named - {None}:
            yield str(folder / name / str(number))


def _runs_of(store: metadata_store.MetadataStore, artifact: int) -> set[str]:
    """Names of the runs that made an artifact or took it from the cache."""
    contexts = store.get_contexts_by_artifact(artifact)
    return {context.name for context in contexts if context.type == RUN_CONTEXT}


def _delete(
    store: metadata_store.MetadataStore,
    artifact: metadata_store_pb2.Artifact,
    folder: pathlib.Path,
) -> int:
    """Deletes the files of an artifact; returns their size."""
    path = pathlib.Path(artifact.uri)
    if folder not in path.parents:  # not made by TFX for this experiment
        return 0
    artifact.state = _STATE.MARKED_FOR_DELETION
    store.put_artifacts([artifact])
    places = (manifest.beside(path), manifest.beside(path, mirror.LINK))
    mirror.withdraw(path, *(place for place in places if place.exists()))
    size_bytes = _remove(path)
    for beside in path.parent.glob(f"{glob.escape(path.name)}.*"):
        beside.unlink()
    artifact.state = _STATE.DELETED
    store.put_artifacts([artifact])
    return size_bytes


def _remove(path: pathlib.Path) -> int:
    """Deletes a file, a link or a folder, which nobody sees half deleted."""
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

"""Lineage of a model: the executions that led to it, from the metadata store."""

import dataclasses
import datetime
import json
import pathlib
from collections.abc import Iterable
from typing import Any

from ml_metadata import metadata_store
from ml_metadata.proto import metadata_store_pb2

from common import run_files
from common.errors import ConfigError
from pipeline.runs import run_store

METADATA_FILE = run_files.METADATA_FILE
DATA_FINGERPRINT = "input_fingerprint"
SOURCE_FINGERPRINT = "source_fingerprint"
# Holds the settings of Transform and Trainer, and the fingerprint of their code.
_CUSTOM_CONFIG = "custom_config"


@dataclasses.dataclass(frozen=True)
class Step:
    """One execution of a component.

    Attributes:
      component: its name in the DAG, as 'ingest'.
      execution: its number in the metadata store.
      finished: time in UTC, ISO 8601.
      properties: its execution properties, name -> value, with `source_fingerprint` of its
        code and `input_fingerprint` of the data.
      inputs: folders of its input artifacts.
      outputs: channel -> folder of its output artifact.
      facts: properties of its output artifacts, as image counts or the pushed version.
    """

    component: str
    execution: int
    finished: str
    properties: dict[str, Any]
    inputs: tuple[str, ...]
    outputs: dict[str, str]
    facts: dict[str, Any]


def of_artifacts(root: pathlib.Path, uris: Iterable[str]) -> tuple[Step, ...]:
    """Executions that led to the artifacts in these folders, earliest first.

    Args:
      root: of the runs, with the metadata store.
      uris: folders of artifacts.

    Raises:
      ConfigError: there is no store, it is damaged, or it has none of the artifacts.
    """
    store = _open(root)
    artifacts = [found for uri in uris for found in store.get_artifacts_by_uri(uri)]
    return _trace(store, artifacts, root)


def of_version(root: pathlib.Path, folder: pathlib.Path) -> tuple[Step, ...]:
    """Executions that led to a pushed version, earliest first.

    Args:
      root: of the runs, with the metadata store.
      folder: of the version.

    Raises:
      ConfigError: there is no store, it is damaged, or it has no push to that folder.
    """
    store = _open(root)
    wanted = folder.resolve()
    pushed = [
        artifact
        for artifact in store.get_artifacts_by_type("PushedModel")
        if (place := artifact.custom_properties["pushed_destination"].string_value)
        and pathlib.Path(place) == wanted
    ]
    return _trace(store, pushed, root, str(folder))


def _open(root: pathlib.Path) -> metadata_store.MetadataStore:
    path = root.resolve() / METADATA_FILE
    if not path.exists():
        raise ConfigError(
            f"no metadata store in {root}",
            expected=f"{METADATA_FILE}, which runs on this machine write",
            tip="--root DIR looks elsewhere",
        )
    if problem := run_store.damage(path):
        raise ConfigError(
            f"the metadata store in {root} cannot be used",
            found=problem,
            tip="the next run replaces it; the lineage of a pushed model is also in its"
            " assets.extra/model_card.md",
        )
    return run_store.connect(path, is_read_only=True)


def upstream(
    store: metadata_store.MetadataStore, artifacts: Iterable[int]
) -> dict[int, list[metadata_store_pb2.Event]]:
    """Executions that led to artifacts, by number -> their events.

    Of executions with the same outputs the first: later ones took them from the cache,
    which needs the same inputs.
    """
    found: dict[int, list[metadata_store_pb2.Event]] = {}
    waiting, seen = set(artifacts), set[int]()
    while waiting:
        seen |= waiting
        makers: dict[int, int] = {}
        for event in store.get_events_by_artifact_ids(sorted(waiting)):
            if event.type == metadata_store_pb2.Event.OUTPUT:
                first = makers.get(event.artifact_id, event.execution_id)
                makers[event.artifact_id] = min(first, event.execution_id)
        new = set(makers.values()) - found.keys()
        found |= {number: [] for number in new}
        waiting = set()
        for event in store.get_events_by_execution_ids(sorted(new)):
            found[event.execution_id].append(event)
            if event.type == metadata_store_pb2.Event.INPUT:
                waiting.add(event.artifact_id)
        waiting -= seen
    return found


def _trace(
    store: metadata_store.MetadataStore,
    artifacts: list[metadata_store_pb2.Artifact],
    root: pathlib.Path,
    what: str = "the run",
) -> tuple[Step, ...]:
    if not artifacts:
        raise ConfigError(
            f"the metadata store in {root} has no record of {what}",
            tip="the lineage of a model that was copied here is in its"
            " assets.extra/model_card.md",
        )
    events = upstream(store, (artifact.id for artifact in artifacts))
    executions = store.get_executions_by_id(sorted(events))
    executions.sort(key=lambda execution: execution.id)
    return tuple(_step(store, each, events[each.id]) for each in executions)


def _step(
    store: metadata_store.MetadataStore,
    execution: metadata_store_pb2.Execution,
    events: list[metadata_store_pb2.Event],
) -> Step:
    numbers = sorted({event.artifact_id for event in events})
    artifacts = {each.id: each for each in store.get_artifacts_by_id(numbers)}
    read: set[int] = set()
    outputs: dict[str, str] = {}
    facts: dict[str, Any] = {}
    for event in events:
        artifact = artifacts[event.artifact_id]
        if event.type == metadata_store_pb2.Event.INPUT:
            read.add(artifact.id)
        elif event.type == metadata_store_pb2.Event.OUTPUT:
            outputs[event.path.steps[0].key] = artifact.uri
            facts |= _values(artifact)
    properties = _values(execution)
    properties |= json.loads(properties.pop(_CUSTOM_CONFIG, "{}"))
    contexts = store.get_contexts_by_execution(execution.id)
    nodes = (context.name for context in contexts if context.type == "node")
    finished = datetime.datetime.fromtimestamp(
        execution.last_update_time_since_epoch / 1000, datetime.UTC
    )
    return Step(
        component=next(nodes, "").rpartition(".")[2],
        execution=execution.id,
        finished=finished.isoformat(timespec="seconds"),
        properties=properties,
        inputs=tuple(artifacts[number].uri for number in sorted(read)),
        outputs=outputs,
        facts=facts,
    )


def _values(
    node: metadata_store_pb2.Execution | metadata_store_pb2.Artifact,
) -> dict[str, Any]:
    values = {}
    for properties in (node.properties, node.custom_properties):
        for name, value in properties.items():
            kind = value.WhichOneof("value")
            if kind in ("string_value", "int_value", "double_value"):
                values[name] = getattr(value, kind)
    return values

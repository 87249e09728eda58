"""Artifacts that say what they hold: a manifest beside each, checked before it is read."""

import contextvars
import functools
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from tfx import types
from tfx.dsl.component.experimental import decorators

from common.errors import DataError
from pushed_models import split_rule
from pushed_models.split_rule import SplitRule
from schema.spelling import listed
from storage import manifest, mirror

# Of artifacts that hold more, the sizes of the files are checked and their digests are not.
DIGESTED_BYTES = 2**30
MAX_NAMED = 3
_EXAMPLES = "examples"
_SPLIT_RULE = "split_rule"
_RUN: contextvars.ContextVar[str] = contextvars.ContextVar("run", default="")

Artifacts = Mapping[str, Sequence[types.Artifact]]


def component(function: Any = None, *, use_beam: bool = False) -> Any:
    """Makes a component of a function, as TFX's decorator does, with checked artifacts.

    Before the function runs, its inputs are compared with their manifests; afterwards its
    outputs get theirs. Artifacts without a manifest, as stock components give them on other
    orchestrators than ours, are read as they are.

    Args:
      function: see `tfx.dsl.component.experimental.decorators.component`. It raises
        DataError for an input that is not what its manifest says.
      use_beam: whether a parameter takes a Beam pipeline.
    """
    if function is None:
        return functools.partial(component, use_beam=use_beam)
    made: Any = decorators.component(use_beam=use_beam)(function)
    executor = made.EXECUTOR_SPEC.executor_class
    do = executor.Do

    @functools.wraps(do)
    def checked_do(
        self: Any, input_dict: Artifacts, output_dict: Artifacts, exec_properties: Any
    ) -> None:
        _RUN.set((self._context and self._context.pipeline_run_id) or "")
        for artifact in _all(input_dict):
            refuse_damaged(artifact)
        for artifact in _all(output_dict):
            # Of an attempt that failed, where an orchestrator tries again in its place.
            if folder := _local(artifact):
                manifest.beside(folder).unlink(missing_ok=True)
        do(self, input_dict, output_dict, exec_properties)
        for artifact in _all(output_dict):
            write(artifact)

    executor.Do = checked_do
    return made


def run_name() -> str:
    """The run of the component that runs now; '' where the orchestrator names none."""
    return _RUN.get()


def write(artifact: types.Artifact) -> None:
    """Writes the manifest of an artifact that has none; links have that of their target."""
    folder = _local(artifact)
    if not folder or not folder.is_dir() or folder.is_symlink():
        return
    if not (place := manifest.beside(folder)).exists():
        manifest.write(folder, place)


def publish(artifact: types.Artifact) -> None:
    """Brings an artifact to the object store of its root, where that lies in one.

    Raises:
      ConfigError: the store does not take it.
    """
    folder = _local(artifact)
    if folder and folder.is_symlink():
        mirror.publish_link(folder)
    elif folder and (place := manifest.beside(folder)).exists():
        mirror.publish(folder, place)


def write_examples(
    artifact: types.Artifact, counts: Mapping[str, Mapping[str, int]]
) -> None:
    """Writes the manifest of Examples.

    Args:
      artifact: whole.
      counts: split -> class -> number of examples.
    """
    if folder := _local(artifact):
        manifest.write(folder, manifest.beside(folder), **{_EXAMPLES: counts})


def write_split_rule(artifact: types.Artifact, rule: SplitRule) -> None:
    """Stores in Examples the rule by which images were kept for test."""
    artifact.set_string_custom_property(_SPLIT_RULE, rule.to_json())


def split_rule_of(artifact: types.Artifact) -> SplitRule | None:
    """The rule that `write_split_rule` stored; None where there is none."""
    return split_rule.from_json(artifact.get_string_custom_property(_SPLIT_RULE))


def counts_of(artifact: types.Artifact) -> dict[str, dict[str, int]]:
    """Split -> class -> number of examples at ingest; {} where no manifest tells."""
    folder = _local(artifact)
    return (folder and manifest.fact(manifest.beside(folder), _EXAMPLES)) or {}


def damage(artifact: types.Artifact, *, needs_manifest: bool = False) -> str:
    """How an artifact differs from its manifest, in words, or ''.

    What an object store has of it, and this machine has not, is fetched first.

    Args:
      artifact: in a folder of this machine; others are not looked at.
      needs_manifest: whether one that has no manifest is damaged.
    """
    if not (folder := _local(artifact)):
        return ""
    place = None if folder.is_symlink() else manifest.beside(folder)
    if place:
        mirror.fetch(folder, place)
    if not (place or folder / manifest.FILE).exists():
        return "it has no manifest" if needs_manifest else ""
    found = manifest.problems(folder, place, digested_bytes=DIGESTED_BYTES)
    return listed(found, MAX_NAMED)


def refuse_damaged(artifact: types.Artifact) -> None:
    """Raises DataError for an artifact that is not what its manifest says."""
    if found := damage(artifact):
        raise DataError(
            f"{artifact.uri} is damaged",
            found=found,
            tip="a run of all components computes it again; elsewhere than on this machine,"
            " remove the folder first",
        )


def _all(channels: Artifacts) -> list[types.Artifact]:
    return [artifact for artifacts in channels.values() for artifact in artifacts]


def _local(artifact: types.Artifact) -> pathlib.Path | None:
    """The folder of an artifact of this machine; None in an object store."""
    is_local = artifact.uri and "://" not in artifact.uri
    return pathlib.Path(artifact.uri) if is_local else None

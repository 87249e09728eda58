"""A part of a pipeline as TFX runs it: its nodes, and the earlier run that it reuses."""

import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from ml_metadata import metadata_store
from ml_metadata.proto import metadata_store_pb2
from tfx.dsl.compiler import compiler, compiler_utils, constants
from tfx.orchestration import metadata
from tfx.orchestration import pipeline as tfx_pipeline
from tfx.orchestration.portable import partial_run_utils
from tfx.proto.orchestration import pipeline_pb2

from common.errors import ConfigError
from pipeline import dag
from pipeline.config import PipelineConfig
from pipeline.runs import parts, runs
from report import run_settings
from trainer.config import as_json, flatten

_SUCCEEDED = (
    metadata_store_pb2.Execution.COMPLETE,
    metadata_store_pb2.Execution.CACHED,
)


def options(
    config: PipelineConfig,
    part: parts.Part,
    pipeline: tfx_pipeline.Pipeline,
    root: pathlib.Path,
    group: str = "",
) -> tfx_pipeline.RunOptions:
    """Options with which a runner runs a part.

    Args:
      config: the experiment as it was configured.
      part: which components, not all.
      pipeline: all components.
      root: of the runs.
      group: label that the earlier run must have; '' for any.

    Raises:
      ConfigError: there is no such part, or no earlier run has what it needs and the same
        settings for it.
    """
    nodes = compiler.Compiler().compile(pipeline)
    names = [node.pipeline_node.node_info.id for node in nodes.nodes]
    for name in (part.first, part.last):
        if name and name not in names:
            is_infer = name == "infer"
            raise ConfigError(
                f"this pipeline has no component '{name}'",
                expected=", ".join(names),
                tip="--set bulk_inference.splits=[test] adds it" if is_infer else "",
            )
    first, last = ([name] if name else [] for name in (part.first, part.last))
    partial_run_utils.mark_pipeline(nodes, from_nodes=first, to_nodes=last)
    reused = _reused(nodes, part)
    base = _find_base(config, pipeline, root, reused, group).name if reused else None
    return tfx_pipeline.RunOptions(
        from_nodes=first, to_nodes=last, base_pipeline_run_id=base
    )


def without_effect(
    values: Mapping[str, Any], earlier: Mapping[str, Any], reused: Sequence[str]
) -> list[tuple[str, str]]:
    """Settings that differ from an earlier run's, but only matter to what is taken from it.

    Args:
      values: dotted key -> value, of this run.
      earlier: the same of the earlier run.
      reused: components whose results are taken from it.

    Returns:
      Key and component, in the order of the components.
    """
    found: list[tuple[str, str]] = []
    for component in parts.COMPONENTS:
        if component in reused:
            found += [
                (key, component)
                for key, value in values.items()
                if key in earlier
                and earlier[key] != value
                and dag.NODES[component].reads(key)
                and key not in dict(found)
            ]
    return found


def executions(
    store: metadata_store.MetadataStore, run_id: str, pipeline_name: str
) -> dict[str, int]:
    """Components that succeeded in a run -> number of the execution; {} for none."""
    run = store.get_context_by_type_and_name(
        constants.PIPELINE_RUN_CONTEXT_TYPE_NAME, run_id
    )
    if run is None:
        return {}
    prefix = compiler_utils.node_context_name(pipeline_name, "")
    return {
        context.name.removeprefix(prefix): execution.id
        for execution in store.get_executions_by_context(run.id)
        if execution.last_known_state in _SUCCEEDED
        for context in store.get_contexts_by_execution(execution.id)
        if context.name.startswith(prefix)
    }


def _reused(nodes: pipeline_pb2.Pipeline, part: parts.Part) -> list[str]:
    """Components whose outputs must come from an earlier run."""
    marked = {
        node.pipeline_node.node_info.id: node.pipeline_node.execution_options
        for node in nodes.nodes
    }
    if not any(mark.HasField("run") for mark in marked.values()):
        raise ConfigError(
            f"nothing leads from '{part.first}' to '{part.last}'",
            tip=f"--from {part.first} alone, or --to {part.last} alone",
        )
    required = pipeline_pb2.NodeExecutionOptions.Skip.REQUIRED
    return [
        name
        for name, mark in marked.items()
        if mark.HasField("skip") and mark.skip.reuse_artifacts_mode == required
    ]


def _find_base(
    config: PipelineConfig,
    pipeline: tfx_pipeline.Pipeline,
    root: pathlib.Path,
    reused: Sequence[str],
    group: str,
) -> pathlib.Path:
    """The newest run that has what is reused, made with the same settings.

    With other settings the new run would record settings that had no effect.
    """
    candidates = _candidates(pipeline, root, reused, group)
    values = flatten(json.loads(json.dumps(as_json(config))))
    for folder in candidates:
        if not without_effect(values, run_settings.values(folder), reused):
            return folder
    newest = candidates[0]
    earlier = run_settings.values(newest)
    (key, component), *_ = without_effect(values, earlier, reused)
    raise ConfigError(
        f"setting '{key}' cannot take effect: '{component}' does not run",
        found=f"{values[key]!r}, but {earlier[key]!r} in {runs.two_words(newest)},"
        " the newest run to reuse",
        tip=f"--from {component}",
    )


def _candidates(
    pipeline: tfx_pipeline.Pipeline,
    root: pathlib.Path,
    reused: Sequence[str],
    group: str,
) -> list[pathlib.Path]:
    """Folders of the runs in which all these components succeeded, the newest first."""
    complete, newest = [], ""
    with metadata.Metadata(pipeline.metadata_connection_config) as handle:
        for folder in reversed(runs.list_runs(root)):
            if group and runs.group_of(folder) != group:
                continue
            name = pipeline.pipeline_info.pipeline_name
            done = executions(handle.store, folder.name, name)
            lacking = [each for each in reused if each not in done]
            if done and not lacking:
                complete.append(folder)
            elif done and not newest:
                newest = f"run '{folder.name}' has no {', '.join(lacking)}"
    if not complete:
        in_group = f" in group {group}" if group else ""
        raise ConfigError(
            "no earlier run has all that this part needs",
            found=newest or f"no run of this experiment{in_group} in {root}",
            tip="without --from, finished components come from the cache",
        )
    return complete

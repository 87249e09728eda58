"""A part of a pipeline as TFX runs it: which nodes, and on which earlier run."""

import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from tfx.dsl.compiler import compiler
from tfx.orchestration import metadata
from tfx.orchestration import pipeline as tfx_pipeline
from tfx.orchestration.portable import partial_run_utils
from tfx.proto.orchestration import pipeline_pb2

from common.errors import ConfigError
from pipeline import dag
from pipeline.config import PipelineConfig
from pipeline.runs import earlier_runs, parts, runs
from report import run_settings
from trainer.config import as_json, flatten


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
      pipeline: the whole of it.
      root: of the runs.
      group: the earlier run must have this label; '' for any.

    Raises:
      ConfigError: there is no such part, or no earlier run with what it needs; or a setting
        differs from all of theirs that only matters to what is taken from there.
    """
    nodes = compiler.Compiler().compile(pipeline)
    names = [node.pipeline_node.node_info.id for node in nodes.nodes]
    for name in (part.first, part.last):
        if name and name not in names:
            raise ConfigError(
                f"this pipeline has no component '{name}'",
                expected=", ".join(names),
                tip="--set bulk_inference.splits=[test] adds it"
                if name == "infer"
                else "",
            )
    first, last = ([name] if name else [] for name in (part.first, part.last))
    partial_run_utils.mark_pipeline(nodes, from_nodes=first, to_nodes=last)
    _check_any(nodes, part)
    needed = _needed(nodes)
    base = ""
    if needed:
        base = _find_base(config, pipeline, root, needed, group).name
    return tfx_pipeline.RunOptions(
        from_nodes=first, to_nodes=last, base_pipeline_run_id=base or None
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


def _check_any(nodes: pipeline_pb2.Pipeline, part: parts.Part) -> None:
    if not any(
        node.pipeline_node.execution_options.HasField("run") for node in nodes.nodes
    ):
        raise ConfigError(
            f"nothing leads from '{part.first}' to '{part.last}'",
            tip=f"--from {part.first} alone, or --to {part.last} alone",
        )


def _needed(nodes: pipeline_pb2.Pipeline) -> list[str]:
    """Components whose results must come from an earlier run."""
    required = pipeline_pb2.NodeExecutionOptions.Skip.REQUIRED
    return [
        node.pipeline_node.node_info.id
        for node in nodes.nodes
        if node.pipeline_node.execution_options.HasField("skip")
        and node.pipeline_node.execution_options.skip.reuse_artifacts_mode == required
    ]


def _find_base(
    config: PipelineConfig,
    pipeline: tfx_pipeline.Pipeline,
    root: pathlib.Path,
    needed: list[str],
    group: str,
) -> pathlib.Path:
    """The newest run that has what is needed, made with the same settings.

    With other ones, the run would be recorded with settings that it does not have.
    """
    with metadata.Metadata(pipeline.metadata_connection_config) as handle:
        candidates = earlier_runs.with_all(
            handle.store, root, pipeline.pipeline_info.pipeline_name, needed, group
        )
    values = flatten(json.loads(json.dumps(as_json(config))))
    for folder in candidates:
        if not without_effect(values, _settings(folder), needed):
            return folder
    newest = candidates[0]
    earlier = _settings(newest)
    (key, component), *_ = without_effect(values, earlier, needed)
    raise ConfigError(
        f"setting '{key}' cannot take effect: '{component}' does not run",
        found=f"{values[key]!r}, but {earlier[key]!r} in {runs.two_words(newest)},"
        " the newest run that could be taken",
        tip=f"--from {component}",
    )


def _settings(folder: pathlib.Path) -> dict[str, Any]:
    return {setting.key: setting.value for setting in run_settings.read(folder)}

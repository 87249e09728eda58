"""LocalDagRunner that reports each component: started, finished, from the cache, failed.

TFX's LocalDagRunner has no hooks. This is its loop over the same public launcher, with
events around each launch.
"""

import dataclasses
import logging
import time
from collections.abc import Callable, Sequence
from typing import Any

from ml_metadata.proto import metadata_store_pb2
from tfx import types
from tfx.dsl.compiler import constants
from tfx.orchestration import metadata
from tfx.orchestration.local import runner_utils
from tfx.orchestration.portable import (
    launcher,
    partial_run_utils,
    runtime_parameter_utils,
    tfx_runner,
)
from tfx.orchestration.portable.mlmd import execution_lib
from tfx.proto.orchestration import pipeline_pb2

from components import artifacts
from components.nodes import Outcome, Outputs
from pipeline import progress
from pipeline.runs import contexts, partial_runs

_LOGGER = logging.getLogger("slimline.run")


@dataclasses.dataclass(frozen=True)
class ComponentResult:
    """How one component ended.

    Attributes:
      outputs: artifacts by channel.
      seconds: wall time of the launch.
      is_cached: whether the outputs come from the cache.
    """

    outputs: Outputs
    seconds: float
    is_cached: bool


class ObservedRunner(tfx_runner.IrBasedRunner):
    """Runs the components one after another in this process.

    Args:
      describe: outcome of a finished component, from its name and outputs.
      run_id: name of the run, which no other run has.
    """

    def __init__(self, describe: Callable[[str, Outputs], Outcome], run_id: str):
        self.results: dict[str, ComponentResult] = {}
        self._describe = describe
        self._run_id = run_id

    def run_with_ir(
        self,
        pipeline: pipeline_pb2.Pipeline,
        run_options: pipeline_pb2.RunOptions | None = None,
        **kwargs: Any,
    ) -> None:
        """See base class. The results are in `results`, by component.

        Only the part that `run_options` names runs; outputs that it needs of other
        components come from the base run named there.
        """
        del kwargs
        runtime_parameter_utils.substitute_runtime_parameter(
            pipeline,
            {constants.PIPELINE_RUN_ID_PARAMETER_NAME: self._run_id},
        )
        contexts.narrow(pipeline, self._run_id)
        deployment = runner_utils.extract_local_deployment_config(pipeline)
        connections = deployment.metadata_connection_config
        connection = getattr(connections, connections.WhichOneof("connection_config"))
        if run_options:
            partial_run_utils.mark_pipeline(
                pipeline,
                from_nodes=run_options.partial_run.from_nodes,
                to_nodes=run_options.partial_run.to_nodes,
                snapshot_settings=run_options.partial_run.snapshot_settings,
            )
        for node in pipeline.nodes:
            name = node.pipeline_node.node_info.id
            options = node.pipeline_node.execution_options
            if options.HasField("skip"):
                continue
            if options.run.perform_snapshot:
                self._reuse(pipeline, connection)
            progress.tell("component_started", component=name)
            start = time.monotonic()
            try:
                result = self._launch(
                    pipeline, node.pipeline_node, deployment, connection
                )
            except BaseException:
                seconds = time.monotonic() - start
                progress.tell("component_failed", component=name, seconds=seconds)
                raise
            self._finish(name, result)

    def _finish(self, name: str, result: ComponentResult) -> None:
        self.results[name] = result
        outcome = self._describe(name, result.outputs)
        progress.tell(
            "component_finished",
            component=name,
            seconds=result.seconds,
            is_cached=result.is_cached,
            detail=outcome.detail,
            is_good=outcome.is_good,
        )

    def _reuse(self, pipeline: pipeline_pb2.Pipeline, connection: Any) -> None:
        """Makes the reused outputs of the base run part of this run.

        Raises:
          DataError: one of them is damaged.
        """
        with metadata.Metadata(connection) as handle:
            partial_run_utils.snapshot(handle, pipeline)
            done = partial_runs.executions(
                handle.store, self._run_id, pipeline.pipeline_info.id
            )
            contexts.associate(handle, self._run_id, done)
            results = {
                name: ComponentResult(
                    execution_lib.get_output_artifacts(handle, execution), 0.0, True
                )
                for name, execution in done.items()
            }
        for result in results.values():
            for made in result.outputs.values():
                for artifact in made:
                    artifacts.refuse_damaged(artifact)
        for node in pipeline.nodes:
            name = node.pipeline_node.node_info.id
            if name in results:
                self._finish(name, results[name])

    def _launch(
        self,
        pipeline: pipeline_pb2.Pipeline,
        node: pipeline_pb2.PipelineNode,
        deployment: Any,
        connection: Any,
    ) -> ComponentResult:
        """Runs a component, or takes its outputs from the cache where they are intact."""
        name = node.node_info.id
        start = time.monotonic()
        while True:
            info = launcher.Launcher(
                pipeline_node=node,
                mlmd_connection=metadata.Metadata(connection),
                pipeline_info=pipeline.pipeline_info,
                pipeline_runtime_spec=pipeline.runtime_spec,
                executor_spec=runner_utils.extract_executor_spec(deployment, name),
                custom_driver_spec=runner_utils.extract_custom_driver_spec(
                    deployment, name
                ),
            ).launch()
            with metadata.Metadata(connection) as handle:
                (execution,) = handle.store.get_executions_by_id([info.execution_id])
                outputs = execution_lib.get_output_artifacts(handle, info.execution_id)
                made = [artifact for made in outputs.values() for artifact in made]
                state = execution.last_known_state
                is_cached = state == metadata_store_pb2.Execution.CACHED
                if is_cached and _disown_damaged(handle, execution, made):
                    contexts.launch_again(node)
                    continue
                for artifact in made:
                    if not is_cached:
                        artifacts.write(artifact)  # of stock components; ours have it
                    # Also from the cache: the run that made it may have been killed first.
                    artifacts.publish(artifact)
                return ComponentResult(outputs, time.monotonic() - start, is_cached)


def _disown_damaged(
    handle: metadata.Metadata,
    execution: metadata_store_pb2.Execution,
    outputs: Sequence[types.Artifact],
) -> bool:
    """Whether an execution took a damaged artifact from the cache; removes it from there.

    TFX itself only checks that the folders exist. Files stay until old runs are deleted.

    Args:
      handle: an open connection.
      execution: that took the artifacts.
      outputs: all of them; the component computes all of them again.
    """
    damage = {
        artifact.uri: artifacts.damage(artifact, needs_manifest=True)
        for artifact in outputs
    }
    if not any(damage.values()):
        return False
    for uri, found in damage.items():
        if found:
            _LOGGER.warning("%s is computed again: %s", uri, found)
    for artifact in outputs:
        artifact.mlmd_artifact.state = metadata_store_pb2.Artifact.ABANDONED
    handle.store.put_artifacts([artifact.mlmd_artifact for artifact in outputs])
    execution.last_known_state = metadata_store_pb2.Execution.FAILED
    handle.store.put_executions([execution])
    return True

"""LocalDagRunner that reports each component: started, finished, from the cache, failed.

TFX's LocalDagRunner gives no hooks, so this is its loop over the same public launcher,
with events around each launch.
"""

import dataclasses
import logging
import time
from collections.abc import Callable
from typing import Any

from ml_metadata import metadata_store
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
from tfx.proto.orchestration import pipeline_pb2
from tfx.types import artifact_utils

from components import artifacts
from components.nodes import Outcome, Outputs
from pipeline.runs import contexts, earlier_runs, whole_artifacts

_PROGRESS = logging.getLogger("slimline.progress")


@dataclasses.dataclass(frozen=True)
class ComponentResult:
    """How one component ended.

    Attributes:
      outputs: artifacts by channel.
      seconds: wall time of the launch.
      is_cached: whether an earlier execution served it.
    """

    outputs: Outputs
    seconds: float
    is_cached: bool


class ObservedRunner(tfx_runner.IrBasedRunner):
    """Runs the components one after another in this process.

    Args:
      describe: outcome of a finished component, from its name and outputs.
      run_id: name of the run, which the components see; no other run has it.
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
        """See base class; the results are in `results`, by component.

        Components outside the part that `run_options` name are not run; those that others
        need are taken from the base run that it names.
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
            _PROGRESS.info("component_started", extra={"fields": {"component": name}})
            start = time.monotonic()
            try:
                result = self._launch(
                    pipeline, node.pipeline_node, deployment, connection
                )
            except BaseException:
                seconds = time.monotonic() - start
                _PROGRESS.info(
                    "component_failed",
                    extra={"fields": {"component": name, "seconds": seconds}},
                )
                raise
            self._finish(name, result)

    def _finish(self, name: str, result: ComponentResult) -> None:
        self.results[name] = result
        outcome = self._describe(name, result.outputs)
        fields = {
            "component": name,
            "seconds": result.seconds,
            "is_cached": result.is_cached,
            "detail": outcome.detail,
            "is_good": outcome.is_good,
        }
        _PROGRESS.info("component_finished", extra={"fields": fields})

    def _reuse(self, pipeline: pipeline_pb2.Pipeline, connection: Any) -> None:
        """Makes what the base run has given part of this run.

        Raises:
          DataError: some of it is damaged.
        """
        with metadata.Metadata(connection) as handle:
            partial_run_utils.snapshot(handle, pipeline)
            done = earlier_runs.executions(
                handle.store, self._run_id, pipeline.pipeline_info.id
            )
            contexts.associate(handle, self._run_id, done)
            results = {
                name: ComponentResult(
                    _outputs_of(handle.store, execution), seconds=0.0, is_cached=True
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
        """Runs a component, or takes what it made before where that is whole."""
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
                outputs = _outputs_of(handle.store, info.execution_id)
                made = [artifact for made in outputs.values() for artifact in made]
                if execution.last_known_state != metadata_store_pb2.Execution.CACHED:
                    for artifact in made:
                        artifacts.write(artifact)  # of stock components; ours have it
                        artifacts.publish(artifact)
                    return ComponentResult(outputs, time.monotonic() - start, False)
                if not whole_artifacts.disown_damaged(handle, execution, made):
                    for artifact in made:  # of a run that was killed before it could
                        artifacts.publish(artifact)
                    return ComponentResult(outputs, time.monotonic() - start, True)
            contexts.launch_again(node)


def _outputs_of(store: metadata_store.MetadataStore, execution_id: int) -> Outputs:
    """Artifacts that an execution gave, by channel."""
    events = [
        event
        for event in store.get_events_by_execution_ids([execution_id])
        if event.type == metadata_store_pb2.Event.OUTPUT
    ]
    artifacts = {
        artifact.id: artifact
        for artifact in store.get_artifacts_by_id(
            [event.artifact_id for event in events]
        )
    }
    kinds = {
        kind.id: kind
        for kind in store.get_artifact_types_by_id(
            [artifact.type_id for artifact in artifacts.values()]
        )
    }
    outputs: dict[str, list[types.Artifact]] = {}
    for event in events:
        artifact = artifacts[event.artifact_id]
        outputs.setdefault(event.path.steps[0].key, []).append(
            artifact_utils.deserialize_artifact(kinds[artifact.type_id], artifact)
        )
    return outputs

"""Finds the inputs of a component by its run, at a cost that does not grow with the runs.

For each input TFX's resolver queries all executions of the pipeline, of the run and of the
producing component, with all their properties, and intersects them in Python
(tfx, orchestration/portable/input_resolution/channel_resolver.py): every run is slower than
the one before. Here each execution has one more context, of its component in its run, and
inputs are queried by that alone.
"""

from collections.abc import Mapping

from ml_metadata.proto import metadata_store_pb2
from tfx.orchestration import metadata
from tfx.orchestration.portable.mlmd import context_lib
from tfx.proto.orchestration import pipeline_pb2

CONTEXT_TYPE = "component_of_run"


def narrow(pipeline: pipeline_pb2.Pipeline, run_id: str) -> None:
    """Adds the contexts of a run to the nodes, and queries all inputs by them.

    Args:
      pipeline: compiled, changed in place; without subpipelines.
      run_id: name of the run, which no other run has.
    """
    for node in pipeline.nodes:
        component = node.pipeline_node
        context = component.contexts.contexts.add()
        context.type.name = CONTEXT_TYPE
        context.name.field_value.string_value = _name(run_id, component.node_info.id)
        for spec in component.inputs.inputs.values():
            for channel in spec.channels:
                producer = channel.producer_node_query.id
                if not producer:
                    continue
                del channel.context_queries[:]
                query = channel.context_queries.add()
                query.type.name = CONTEXT_TYPE
                query.name.field_value.string_value = _name(run_id, producer)


def launch_again(node: pipeline_pb2.PipelineNode) -> None:
    """Lets a component have a second execution in its run, after one that failed.

    TFX's launcher reuses the execution that has all contexts of the node, if there is one.

    Args:
      node: changed in place.
    """
    context = node.contexts.contexts.add()
    context.type.name = CONTEXT_TYPE
    of_run = node.contexts.contexts[-2].name.field_value.string_value
    context.name.field_value.string_value = f"{of_run}/again"


def associate(
    handle: metadata.Metadata, run_id: str, executions: Mapping[str, int]
) -> None:
    """Adds the contexts of a run to executions that TFX has made part of it.

    Args:
      handle: an open connection.
      run_id: name of the run.
      executions: component -> number of its execution.
    """
    associations = []
    for component, execution in executions.items():
        context = context_lib.register_context_if_not_exists(
            handle, CONTEXT_TYPE, _name(run_id, component)
        )
        associations.append(
            metadata_store_pb2.Association(
                execution_id=execution, context_id=context.id
            )
        )
    handle.store.put_attributions_and_associations([], associations)


def _name(run_id: str, component: str) -> str:
    return f"{run_id}/{component}"

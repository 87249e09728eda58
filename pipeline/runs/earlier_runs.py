"""What earlier runs left in the metadata store, for a part of the pipeline to stand on."""

import pathlib
from collections.abc import Sequence

from ml_metadata import metadata_store
from ml_metadata.proto import metadata_store_pb2
from tfx.dsl.compiler import compiler_utils, constants

from common.errors import ConfigError
from pipeline.runs import runs

_ENDED_WELL = (
    metadata_store_pb2.Execution.COMPLETE,
    metadata_store_pb2.Execution.CACHED,
)


def with_all(
    store: metadata_store.MetadataStore,
    root: pathlib.Path,
    pipeline_name: str,
    needed: Sequence[str],
    group: str = "",
) -> list[pathlib.Path]:
    """Folders of the runs in which all of the components ended well, the newest first.

    Args:
      store: of the runs under `root`.
      root: their folder; runs that are not there any more do not count, nor do the members
        of sweeps.
      pipeline_name: TFX's.
      needed: names of components.
      group: only runs with this label count; '' for all.

    Raises:
      ConfigError: there is none.
    """
    complete, newest = [], ""
    for folder in reversed(runs.list_runs(root)):
        if group and runs.group_of(folder) != group:
            continue
        done = executions(store, folder.name, pipeline_name)
        lacking = [name for name in needed if name not in done]
        if done and not lacking:
            complete.append(folder)
        elif done and not newest:
            newest = f"run '{folder.name}' has no {', '.join(lacking)}"
    if not complete:
        raise ConfigError(
            "no earlier run has all that this part needs",
            found=newest
            or f"no run of this experiment{f' in group {group}' if group else ''} in {root}",
            tip="without --from, what is done already comes from the cache",
        )
    return complete


def executions(
    store: metadata_store.MetadataStore, run_id: str, pipeline_name: str
) -> dict[str, int]:
    """Components that ended well in a run -> number of the execution; {} for none."""
    run = store.get_context_by_type_and_name(
        constants.PIPELINE_RUN_CONTEXT_TYPE_NAME, run_id
    )
    if run is None:
        return {}
    prefix = compiler_utils.node_context_name(pipeline_name, "")
    return {
        context.name.removeprefix(prefix): execution.id
        for execution in store.get_executions_by_context(run.id)
        if execution.last_known_state in _ENDED_WELL
        for context in store.get_contexts_by_execution(execution.id)
        if context.name.startswith(prefix)
    }

"""Damaged artifacts in the cache, which TFX would serve: it checks only that they exist."""

import logging
from collections.abc import Sequence

from ml_metadata.proto import metadata_store_pb2
from tfx import types
from tfx.orchestration import metadata

from components import artifacts

_LOGGER = logging.getLogger("slimline.run")


def disown_damaged(
    handle: metadata.Metadata,
    execution: metadata_store_pb2.Execution,
    outputs: Sequence[types.Artifact],
) -> bool:
    """Whether an execution took a damaged artifact from the cache; removes it from there.

    Files stay until old runs are deleted.

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

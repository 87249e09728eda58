"""Puts a data set's schema into the pipeline.

The schema travels as text in an execution property, not as a path: TFX's cache then sees
its content, and no component needs the file system of whoever compiled the pipeline.
"""

import pathlib
from typing import Any

from tfx import types
from tfx.dsl.components.base import base_component, base_executor, executor_spec
from tfx.types import artifact_utils, component_spec, standard_artifacts

from components import artifacts
from schema import contract

SCHEMA_KEY = "schema"
SCHEMA_PBTXT_KEY = "schema_pbtxt"
FINGERPRINT_KEY = "source_fingerprint"


class DataContractSpec(component_spec.ComponentSpec):
    """Channels of DataContract."""

    PARAMETERS = {
        SCHEMA_PBTXT_KEY: component_spec.ExecutionParameter(type=str),
        FINGERPRINT_KEY: component_spec.ExecutionParameter(type=str),
    }
    INPUTS: dict[str, Any] = {}
    OUTPUTS = {
        SCHEMA_KEY: component_spec.ChannelParameter(type=standard_artifacts.Schema)
    }


class Executor(base_executor.BaseExecutor):
    """Writes `schema.pbtxt`, the only file of the artifact."""

    @artifacts.checked
    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """See base class."""
        del input_dict
        folder = pathlib.Path(artifact_utils.get_single_uri(output_dict[SCHEMA_KEY]))
        folder.mkdir(parents=True, exist_ok=True)
        (folder / contract.SCHEMA_FILE).write_text(
            exec_properties[SCHEMA_PBTXT_KEY], encoding="utf-8"
        )


class DataContract(base_component.BaseComponent):
    """A curated schema, with the class names in label order in its string domain."""

    SPEC_CLASS = DataContractSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(self, schema_pbtxt: str, source_fingerprint: str):
        """Makes the component.

        Args:
          schema_pbtxt: text of a TFMD schema (`schema.contract.Contract.schema_pbtxt`).
          source_fingerprint: of the code, for the cache.
        """
        super().__init__(
            DataContractSpec(
                schema_pbtxt=schema_pbtxt,
                source_fingerprint=source_fingerprint,
                schema=types.Channel(type=standard_artifacts.Schema),
            )
        )

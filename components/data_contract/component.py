"""Puts the schema of a dataset into the pipeline.

The schema travels as text in an execution property, not as a path: TFX's cache then sees
its content, and no component needs the file system of the machine that compiled the pipeline.
"""

import pathlib

from tfx.dsl.component.experimental.annotations import OutputArtifact, Parameter
from tfx.types import standard_artifacts

from components import artifacts
from schema import contract


@artifacts.component
def DataContract(
    schema_pbtxt: Parameter[str],
    source_fingerprint: Parameter[str],
    schema: OutputArtifact[standard_artifacts.Schema],
) -> None:
    """Writes `schema.pbtxt`, with the class names in label order in its string domain.

    Args:
      schema_pbtxt: text of a TFMD schema (`schema.contract.Contract.schema_pbtxt`).
      source_fingerprint: of the code, for the cache.
      schema: artifact with `schema.pbtxt` as its only file.
    """
    folder = pathlib.Path(schema.uri)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / contract.SCHEMA_FILE).write_text(schema_pbtxt, encoding="utf-8")

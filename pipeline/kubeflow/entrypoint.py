"""What a component's container runs on Kubeflow Pipelines: TFX's executor, well fed.

    python -m pipeline.kubeflow.entrypoint --executor_class_path CLASS \
        --json_serialized_invocation_args '{{$}}' --json_serialized_inputs_spec_args SPEC

The arguments are those that TFX compiles. Two things keep its own entry point from running
on the open-source backend (kubeflow/pipelines, backend/src/v2): the launcher copies
artifacts between the bucket and a local folder, but TFX opens the bucket's URI, which
TensorFlow can do for Google's only; and input artifacts arrive without their type.

In a run of a schedule, the first and the last task see to its slot (`slots`).
"""

import argparse
import json
import os
import pathlib
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from common.errors import SlimlineError
from pipeline.beam import engines
from pipeline.kubeflow import slots

# Where the launcher keeps the local copies (component.LocalPathForURI).
LOCAL_FOLDERS = {"gs://": "/gcs/", "minio://": "/minio/", "s3://": "/s3/"}
# Goes before those folders, where the launcher is not the one of Kubeflow.
LOCAL_ROOT_VARIABLE = "SLIMLINE_KUBEFLOW_LOCAL_ROOT"


def main(arguments: Sequence[str]) -> None:
    """Runs one component; arguments that are not ours are Beam's."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--executor_class_path", required=True)
    parser.add_argument("--json_serialized_invocation_args", required=True)
    # Vertex AI (schema 2.0.0) has none: its input artifacts come with their types.
    parser.add_argument("--json_serialized_inputs_spec_args", default="")
    known, beam_arguments = parser.parse_known_args(arguments)
    executor_input = json.loads(known.json_serialized_invocation_args)
    slot = claimed_slot(executor_input)
    inputs_spec = json.loads(known.json_serialized_inputs_spec_args or "{}")
    restore_types(executor_input, inputs_spec)
    uris = localise(executor_input)
    output_file = local_path(executor_input["outputs"]["outputFile"])
    executor_input["outputs"]["outputFile"] = output_file
    known.json_serialized_invocation_args = json.dumps(executor_input)
    # It takes seconds to load, and a run whose slot is taken needs none of it.
    from tfx.orchestration.kubeflow.v2.container import kubeflow_v2_run_executor

    # TFX's Beam executors read the command line as flags of their own.
    sys.argv = sys.argv[:1]
    kubeflow_v2_run_executor.main((known, beam_arguments or engines.local()))
    output = restore_uris(pathlib.Path(output_file), uris)
    if slot and slots.PUSHED_MODEL in output.get("artifacts", {}):
        slots.settle(slot, output)


def claimed_slot(executor_input: dict[str, Any]) -> slots.Slot | None:
    """The slot of a schedule that this task's run has, where the task looks after it.

    Ends the process with a sentence where another run has it.
    """
    try:
        slot = slots.taken_from(executor_input)
        if slot:
            slots.claim(slot)
    except SlimlineError as error:
        sys.exit(f"error: {error}")
    return slot


def restore_types(executor_input: dict[str, Any], inputs_spec: dict[str, Any]) -> None:
    """Gives the input artifacts that come without a type the one that the spec declares."""
    declared = inputs_spec.get("artifacts", {})
    for name, artifact in _artifacts(executor_input, "inputs"):
        if not artifact.get("type"):
            artifact["type"] = declared[name]["artifactType"]


def localise(executor_input: dict[str, Any]) -> dict[str, str]:
    """Replaces URIs of a bucket by the launcher's local copies.

    Returns:
      Local path -> URI.
    """
    uris = {}
    for side in ("inputs", "outputs"):
        for _, artifact in _artifacts(executor_input, side):
            path = local_path(artifact["uri"])
            uris[path] = artifact["uri"]
            artifact["uri"] = path
    return uris


def local_path(uri: str) -> str:
    """'minio://bucket/x' -> '/minio/bucket/x'; other URIs stay as they are."""
    root = os.environ.get(LOCAL_ROOT_VARIABLE, "")
    for scheme, folder in LOCAL_FOLDERS.items():
        if uri.startswith(scheme):
            return root + folder + uri.removeprefix(scheme)
    return uri


def restore_uris(output_file: pathlib.Path, uris: dict[str, str]) -> dict[str, Any]:
    """Writes the bucket's URIs back into what the launcher reads after us; gives it.

    Metadata name artifacts too: the blessing names its model.
    """
    output: dict[str, Any] = json.loads(output_file.read_text(encoding="utf-8"))
    for artifacts in output.get("artifacts", {}).values():
        for artifact in artifacts["artifacts"]:
            artifact["uri"] = uris.get(artifact["uri"], artifact["uri"])
            artifact["metadata"] = {
                name: uris.get(value, value) if isinstance(value, str) else value
                for name, value in artifact.get("metadata", {}).items()
            }
    output_file.write_text(json.dumps(output), encoding="utf-8")
    return output


def _artifacts(
    executor_input: dict[str, Any], side: str
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Name and artifact of the inputs or the outputs."""
    for name, listed in executor_input.get(side, {}).get("artifacts", {}).items():
        for artifact in listed.get("artifacts", ()):
            yield name, artifact


if __name__ == "__main__":
    main(sys.argv[1:])

"""ExampleValidator that refuses data which break their contract.

The stock component writes anomalies down and lets the run go on to train on them.
"""

from typing import Any

from tensorflow_metadata.proto.v0 import anomalies_pb2
from tfx import types
from tfx.components.example_validator import component as stock_component
from tfx.components.example_validator import executor as stock_executor
from tfx.dsl.components.base import executor_spec
from tfx.dsl.io import fileio
from tfx.proto.orchestration import execution_result_pb2
from tfx.types import artifact_utils, standard_component_specs

from schema import features
from schema.errors import DataError

MAX_NAMED = 5


class Executor(stock_executor.Executor):
    """Stock validation, then an error that puts the anomalies into words."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> execution_result_pb2.ExecutorOutput:
        """See base class.

        Raises:
          DataError: a split has anomalies.
        """
        result = super().Do(input_dict, output_dict, exec_properties)
        artifact = artifact_utils.get_single_instance(
            output_dict[standard_component_specs.ANOMALIES_KEY]
        )
        sentences = []
        for split in artifact_utils.decode_split_names(artifact.split_names):
            path = (
                f"{artifact_utils.get_split_uri([artifact], split)}/"
                f"{stock_executor.DEFAULT_FILE_NAME}"
            )
            with fileio.open(path, "rb") as file:
                anomalies = anomalies_pb2.Anomalies.FromString(file.read())
            sentences += [f"{split}: {words}" for words in in_words(anomalies)]
        if sentences:
            more = len(sentences) - MAX_NAMED
            raise DataError(
                "the data break their contract",
                found="; ".join(sentences[:MAX_NAMED])
                + (f"; and {more} more" if more > 0 else ""),
                tip="mend the data, or look at them with `slimline data inspect` and"
                " change the contract's schema.pbtxt and labels.txt on purpose",
            )
        return result


def in_words(anomalies: anomalies_pb2.Anomalies) -> list[str]:
    """A sentence for each anomaly, sorted by feature, class names first."""
    sentences = []
    for name, info in sorted(
        anomalies.anomaly_info.items(),
        key=lambda item: (item[0] != features.TEXT, item),
    ):
        for reason in info.reason:
            sentences.append(
                f"{name}: {reason.description or reason.short_description}"
            )
    for reason in anomalies.dataset_anomaly_info.reason:
        sentences.append(reason.description)
    return [" ".join(sentence.split()) for sentence in sentences]


class ExampleValidator(stock_component.ExampleValidator):
    """Validates statistics against the contract; an anomaly fails the run."""

    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

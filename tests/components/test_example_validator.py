"""An anomaly stops the run, in words."""

import pathlib

import pytest
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import anomalies_pb2, statistics_pb2
from tfx.types import artifact_utils, standard_artifacts

from components.example_validator import component
from schema import features
from schema.errors import DataError

SCHEMA = """
string_domain { name: "class" value: "cat" value: "dog" }
feature {
  name: "image/class/text" type: BYTES domain: "class"
  presence { min_fraction: 1.0 min_count: 1 }
  shape {}
}
feature {
  name: "image/height" type: INT int_domain { min: 8 max: 8 }
  presence { min_fraction: 1.0 min_count: 1 }
  shape {}
}
"""

STATISTICS = """
datasets {
  num_examples: 10
  features {
    path { step: "image/class/text" } type: STRING
    string_stats {
      common_stats {
        num_non_missing: 10 min_num_values: 1 max_num_values: 1 avg_num_values: 1.0
        tot_num_values: 10
      }
      unique: 2
      rank_histogram {
        buckets { label: "cat" sample_count: 9 }
        buckets { label: "%s" sample_count: 1 }
      }
    }
  }
  features {
    path { step: "image/height" } type: INT
    num_stats {
      common_stats {
        num_non_missing: 10 min_num_values: 1 max_num_values: 1 avg_num_values: 1.0
        tot_num_values: 10
      }
      min: 8 max: %d
    }
  }
}
"""


def validate(tmp_path: pathlib.Path, class_name: str, largest_px: int) -> None:
    schema = standard_artifacts.Schema()
    schema.uri = str(tmp_path / "schema")
    pathlib.Path(schema.uri).mkdir()
    (tmp_path / "schema" / "schema.pbtxt").write_text(SCHEMA)
    statistics = standard_artifacts.ExampleStatistics()
    statistics.uri = str(tmp_path / "statistics")
    statistics.split_names = artifact_utils.encode_split_names(["train"])
    split = tmp_path / "statistics" / "Split-train"
    split.mkdir(parents=True)
    message = text_format.Parse(
        STATISTICS % (class_name, largest_px),
        statistics_pb2.DatasetFeatureStatisticsList(),
    )
    (split / "FeatureStats.pb").write_bytes(message.SerializeToString())
    anomalies = standard_artifacts.ExampleAnomalies()
    anomalies.uri = str(tmp_path / "anomalies")
    component.Executor().Do(
        {"statistics": [statistics], "schema": [schema]},
        {"anomalies": [anomalies]},
        {},
    )


def test_data_that_keep_their_contract_pass(tmp_path: pathlib.Path) -> None:
    validate(tmp_path, "dog", 8)


def test_a_new_class_is_named(tmp_path: pathlib.Path) -> None:
    with pytest.raises(DataError, match="break their contract") as caught:
        validate(tmp_path, "zebra", 8)
    assert caught.value.found.startswith("train: image/class/text: ")
    assert "zebra" in caught.value.found


def test_a_wrong_size_is_named(tmp_path: pathlib.Path) -> None:
    with pytest.raises(DataError, match="break their contract") as caught:
        validate(tmp_path, "dog", 9)
    assert "train: image/height: " in caught.value.found
    assert "9" in caught.value.found


def test_classes_are_named_first() -> None:
    anomalies = anomalies_pb2.Anomalies()
    for name in ("image/aaa", features.TEXT):
        anomalies.anomaly_info[name].reason.add(description=f"{name} is\n odd")
    assert component.in_words(anomalies) == [
        "image/class/text: image/class/text is odd",
        "image/aaa: image/aaa is odd",
    ]

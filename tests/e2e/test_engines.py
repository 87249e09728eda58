"""The same experiment through Beam's job service, all over gRPC: the same results.

By day pipeline/beam/test_processes.py compares what the engines ingest.
"""

import dataclasses
import json
import os
import pathlib

import pytest
import tensorflow as tf
from tensorflow_metadata.proto.v0 import statistics_pb2

from components.model_evaluator import predictions
from pipeline.beam import processes
from pipeline.config import EngineConfig
from schema import features

pytestmark = [pytest.mark.e2e, pytest.mark.nightly]

PORTABLE = EngineConfig(name="portable")


@pytest.fixture(scope="module")
def house(shared_house):
    return shared_house


@pytest.fixture(scope="module")
def local(two_steps):
    return two_steps


@pytest.fixture(scope="module")
def other(house, local):
    """A run of the same by another engine, which is not served from local's cache."""
    return house.run(dataclasses.replace(house.config(steps=2), engine=PORTABLE))


def folder_of(summary, component: str, key: str) -> pathlib.Path:
    record = json.loads((pathlib.Path(summary.folder) / "summary.json").read_text())
    (uri,) = record["artifacts"][component][key]
    return pathlib.Path(uri)


def examples_of(summary, split: str) -> list[bytes]:
    folder = folder_of(summary, "ingest", "examples") / f"Split-{split}"
    files = sorted(map(str, folder.iterdir()))
    return sorted(tf.data.TFRecordDataset(files, "GZIP").as_numpy_iterator())


def statistics_of(summary, split: str) -> dict[str, tuple]:
    """Feature -> count, type, and mean or number of values; the rest has float noise."""
    folder = folder_of(summary, "statistics", "statistics") / f"Split-{split}"
    found = statistics_pb2.DatasetFeatureStatisticsList.FromString(
        (folder / "FeatureStats.pb").read_bytes()
    )
    (data_set,) = found.datasets
    return {
        feature.path.step[0]: (
            feature.type,
            data_set.num_examples,
            feature.num_stats.common_stats.num_non_missing
            or feature.string_stats.common_stats.num_non_missing
            or feature.bytes_stats.common_stats.num_non_missing,
            pytest.approx(feature.num_stats.mean),
            pytest.approx(feature.num_stats.std_dev),
            feature.string_stats.unique,
        )
        for feature in data_set.features
    }


def test_the_same_examples(local, other) -> None:
    assert folder_of(local, "ingest", "examples") != folder_of(
        other, "ingest", "examples"
    )
    for split in features.SPLITS:
        expected = examples_of(local, split)
        assert len(expected) == local.images[split]
        assert examples_of(other, split) == expected
    assert other.images_per_class == local.images_per_class


def test_the_same_statistics(local, other) -> None:
    for split in features.SPLITS:
        expected = statistics_of(local, split)
        assert set(expected) >= {features.LABEL, features.ENCODED, features.HEIGHT}
        assert statistics_of(other, split) == expected


def test_the_same_model_and_metrics(local, other) -> None:
    assert not other.is_cached
    # The Trainer, no Beam job, trained anew: its inputs are other files.
    assert other.metrics == pytest.approx(local.metrics, abs=1e-6)
    first, second = (
        predictions.read(str(folder_of(summary, "evaluate", "evaluation")))
        for summary in (local, other)
    )
    assert len(first) == local.images["test"]
    first, second = (
        table.sort_values(predictions.KEY).reset_index(drop=True)
        for table in (first, second)
    )
    assert second[predictions.KEY].tolist() == first[predictions.KEY].tolist()
    for mine, theirs in zip(
        first[predictions.PROBABILITIES], second[predictions.PROBABILITIES], strict=True
    ):
        assert theirs == pytest.approx(mine, abs=1e-6)


def test_a_second_run_is_served_from_the_cache(house, other) -> None:
    """The service has another address now, and the arguments do not tell."""
    again = house.run(dataclasses.replace(house.config(steps=2), engine=PORTABLE))
    assert again.is_cached
    assert again.metrics == other.metrics


def test_nothing_is_left_running(other) -> None:
    """By pid: no child of this process is a pool, a service or a worker of theirs."""
    assert processes.POOL_VARIABLE not in os.environ
    children = [
        (folder / "cmdline").read_bytes()
        for folder in pathlib.Path("/proc").glob("[0-9]*")
        if str(os.getpid()) in parents_of(folder)
    ]
    assert not [command for command in children if b"pipeline." in command]


def parents_of(folder: pathlib.Path) -> list[str]:
    try:
        return [(folder / "stat").read_text().rpartition(")")[2].split()[1]]
    except OSError:
        return []

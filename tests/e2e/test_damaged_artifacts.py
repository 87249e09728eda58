"""What was damaged between two runs is computed again, or the run stops in a sentence."""

import json
import logging
import pathlib
import shutil

import pytest
import tensorflow as tf
from tfx.types import standard_artifacts

from common.errors import DataError
from components import artifacts
from pipeline.runs.summary import Summary
from pushed_models import versions

pytestmark = pytest.mark.e2e

SETTINGS = {"steps": 2}


@pytest.fixture(scope="module")
def house(shared_house):
    return shared_house


@pytest.fixture(scope="module")
def first(two_steps) -> Summary:
    return two_steps


def artifact(summary: Summary, component: str, channel: str) -> pathlib.Path:
    record = json.loads((pathlib.Path(summary.folder) / "summary.json").read_text())
    (uri,) = record["artifacts"][component][channel]
    return pathlib.Path(uri)


def flip(path: pathlib.Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_a_removed_version_is_pushed_again(house, first) -> None:
    shutil.rmtree(first.pushed_path)
    again = house.run(house.config(**SETTINGS))
    assert not again.is_cached
    assert again.metrics == first.metrics
    assert int(again.pushed_version) in versions.numbers(house.serving)


def test_what_is_damaged_is_computed_again(house, first, caplog) -> None:
    """A model of the same shape with other weights, which nothing else would notice."""
    model = artifact(first, "train", "model")
    flip(model / "Format-Serving" / "variables" / "variables.data-00000-of-00001")
    with caplog.at_level(logging.WARNING, "slimline.run"):
        second = house.run(house.config(**SETTINGS))
    assert f"{model} is computed again: Format-Serving/variables/" in caplog.text
    assert artifact(second, "train", "model") != model
    assert artifact(second, "transform", "transform_graph") == artifact(
        first, "transform", "transform_graph"
    )
    predictions = artifact(second, "evaluate", "evaluation") / "predictions.parquet"
    predictions.unlink()
    third = house.run(house.config(**SETTINGS))
    assert artifact(third, "train", "model") == artifact(second, "train", "model")
    assert artifact(third, "evaluate", "evaluation") != predictions.parent
    assert third.metrics == pytest.approx(second.metrics)


@pytest.mark.parametrize(
    ("split", "settings", "message"),
    [
        ("train", SETTINGS | {"steps": 7}, "another number than was ingested"),
        ("test", SETTINGS | {"min_top_1": 0.01}, "examples of test were ingested"),
    ],
)
def test_fewer_examples_than_were_ingested_stop_the_run(
    house, first, split, settings, message
) -> None:
    """Whatever the manifest says of the files."""
    examples = standard_artifacts.Examples()
    examples.uri = str(artifact(first, "ingest", "examples"))
    counts = artifacts.counts_of(examples)
    shard = min((pathlib.Path(examples.uri) / f"Split-{split}").iterdir())
    content = shard.read_bytes()
    write_fewer(shard)
    artifacts.write_examples(examples, counts)
    with pytest.raises(DataError, match=message):
        house.run(house.config(**settings))
    shard.write_bytes(content)
    artifacts.write_examples(examples, counts)


def write_fewer(shard: pathlib.Path) -> None:
    """Leaves out the last record."""
    records = list(tf.data.TFRecordDataset(str(shard), "GZIP").as_numpy_iterator())
    with tf.io.TFRecordWriter(str(shard), "GZIP") as writer:
        for record in records[:-1]:
            writer.write(record)

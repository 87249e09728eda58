"""A look over the images of a run."""

import json
import pathlib

import numpy as np
import pytest
import tensorflow as tf

from common import run_files
from data_check import checking
from pipeline.runs import data_findings
from schema import features, images


@pytest.fixture
def examples(tmp_path: pathlib.Path) -> str:
    """Two test images of the same pixels, and one more."""
    folder = tmp_path / "examples" / "Split-test"
    folder.mkdir(parents=True)
    random = np.random.default_rng(3)
    pixels = random.integers(0, 256, [2, 16, 16, 3]).astype(np.uint8)
    encoded = list(images.encode_pngs(pixels[[0, 0, 1]]))
    with tf.io.TFRecordWriter(str(folder / "0.gz"), "GZIP") as writer:
        for number, data in enumerate(encoded):
            values = {
                features.KEY: f"{number}".encode(),
                features.TEXT: b"cat",
                features.ENCODED: data,
            }
            feature = {
                name: tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))
                for name, value in values.items()
            }
            example = tf.train.Example(features=tf.train.Features(feature=feature))
            writer.write(example.SerializeToString())
    return str(tmp_path / "examples")


@pytest.fixture
def no_cleanlab(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)


def test_findings_are_kept_beside_the_evaluation_and_in_the_run(
    examples: str,
    tmp_path: pathlib.Path,
    no_cleanlab: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    evaluation, first, second = (tmp_path / name for name in ("evaluation", "a", "b"))
    for folder in (evaluation, first, second):
        folder.mkdir()
    path = data_findings.write(first, examples, str(evaluation))
    assert path == first / run_files.DATA_CHECK_FILE
    assert list(evaluation.iterdir()) == []  # its manifest still fits
    (group,) = json.loads(path.read_text())["findings"]["exact_duplicates"]
    assert [image["key"] for image in group["images"]] == ["0", "1"]

    monkeypatch.setattr(checking, "check", lambda *_: pytest.fail("looked twice"))
    again = data_findings.write(second, examples, str(evaluation))
    assert again.read_text() == path.read_text()

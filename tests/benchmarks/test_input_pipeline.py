"""The command line of the input benchmark, and the images it makes up."""

import pathlib

import input_pipeline
import numpy as np
import pytest
import synthetic
import tensorflow as tf

from pipeline import experiments
from schema import features


def test_cases_are_of_known_experiments() -> None:
    for net, case in input_pipeline.CASES.items():
        config = experiments.find(case.experiment).trainer
        assert config.model.net == net
        assert min(case.height_px, case.width_px) >= config.image_size_px
        assert case.images >= 10 * config.train.batch_size


def test_share_is_of_the_fixed_batch() -> None:
    speeds = {"fixed": 200.0, "memory": 190.0, "files": 150.0}
    summaries = {name: {"images_per_second": speed} for name, speed in speeds.items()}
    assert input_pipeline.shares(summaries) == {"memory": 0.95, "files": 0.75}


def test_data_without_examples_is_a_sentence(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--net", "resnet_20", "--data", str(tmp_path)]
    assert input_pipeline.main(arguments) == 2
    assert "error: there are no files" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["jpeg", "png"])
def test_examples_are_as_example_gen_writes_them(
    kind: str, tmp_path: pathlib.Path
) -> None:
    synthetic.write_examples(
        tmp_path, count=6, height_px=20, width_px=30, kind=kind, num_classes=3
    )
    files = sorted(map(str, tmp_path.glob(input_pipeline.PATTERN)))
    records = list(tf.data.TFRecordDataset(files, "GZIP").as_numpy_iterator())
    example = tf.train.Example.FromString(records[0]).features.feature
    assert len(records) == 6
    assert set(example) == set(features.RAW_FEATURES)
    encoded = example[features.ENCODED].bytes_list.value[0]
    assert tf.io.decode_image(encoded).shape == (20, 30, 3)


def test_made_up_images_are_all_different() -> None:
    random = np.random.default_rng(0)
    first, second = (synthetic.smooth_image(random, 32, 32) for _ in range(2))
    assert np.mean(first != second) > 0.9

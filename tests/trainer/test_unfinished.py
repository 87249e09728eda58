"""Unfinished trainings tell in which format they were begun."""

import os
import pathlib

import pytest

from pipeline import experiments
from trainer import unfinished
from trainer.config import as_json


@pytest.fixture
def config() -> dict:
    return as_json(experiments.digits_resnet_20().trainer)


def begin(root: pathlib.Path, config: dict, precision: str, age: int) -> pathlib.Path:
    causes = {"custom_config": {"config": config}, "precision": precision}
    folder = unfinished.claim(root / "model_run" / "7", causes)
    time = 1_700_000_000 - age
    os.utime(folder / unfinished.CAUSES_FILE, (time, time))
    return folder


def test_the_newest_of_the_same_settings_counts(
    tmp_path: pathlib.Path, config: dict
) -> None:
    assert unfinished.precision_of(tmp_path, config) == ""
    begin(tmp_path, config, "float16", age=20)
    newest = begin(tmp_path, config, "float32", age=10)
    other = config | {"train": config["train"] | {"batch_size": 7}}
    begin(tmp_path, other, "bfloat16", age=0)
    resolved = config | {"train": config["train"] | {"precision": "bfloat16"}}
    assert unfinished.precision_of(tmp_path, config) == "float32"
    assert unfinished.precision_of(tmp_path, resolved) == "float32"
    unfinished.finish(newest, tmp_path / "model_run" / "7")
    assert unfinished.precision_of(tmp_path, config) == "float16"


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"custom_config": 1}'])
def test_what_cannot_be_read_was_not_begun(
    tmp_path: pathlib.Path, config: dict, content: str
) -> None:
    folder = begin(tmp_path, config, "float32", age=0)
    (folder / unfinished.CAUSES_FILE).write_text(content)
    assert unfinished.precision_of(tmp_path, config) == ""


def test_another_format_is_another_training(
    tmp_path: pathlib.Path, config: dict
) -> None:
    folders = {begin(tmp_path, config, name, 0) for name in ("float32", "bfloat16")}
    assert len(folders) == 2

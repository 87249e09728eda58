import dataclasses
import logging
import types

import PIL.Image
import pytest

from common.errors import ConfigError
from pipeline import execution, experiments, inputs
from pipeline.runs import runs
from pushed_models import models_config
from trainer import precision, unfinished
from trainer.config import as_json


def test_a_report_that_fails_is_logged_and_fails_nothing(tmp_path, caplog):
    with caplog.at_level(logging.ERROR, "slimline.run"):
        execution._report(tmp_path, {}, checks_images=False)
    (record,) = caplog.records
    assert record.getMessage() == "the report could not be made"
    assert "has no summary.json" in str(record.exc_info[1])
    assert not list(tmp_path.iterdir())


@pytest.fixture
def blessed():
    """The default experiment, to be started from the blessed weights."""
    config = experiments.tiny(experiments.digits_resnet_20())
    train = dataclasses.replace(config.train, weights="blessed")
    return dataclasses.replace(config, train=train)


def test_blessed_weights_are_those_that_are_live(blessed, tmp_path):
    resolved = types.SimpleNamespace(model_name="digits")
    with pytest.raises(ConfigError, match="no model 'digits' was pushed yet"):
        execution._with_blessed_weights(blessed, resolved, tmp_path)
    serving = tmp_path / "serving"
    for version in ("6", "7"):
        (serving / "digits" / version).mkdir(parents=True)
        (serving / "digits" / version / "saved_model.pb").touch()
    found = execution._with_blessed_weights(blessed, resolved, tmp_path)
    assert found.train.weights == str(serving / "digits" / "7")
    pinned = models_config.Entry((6,), {"stable": 6})
    models_config.write(serving, {"digits": pinned})
    found = execution._with_blessed_weights(blessed, resolved, tmp_path)
    assert found.train.weights == str(serving / "digits" / "6")


def test_a_file_of_models_that_nobody_can_read_ends_the_run_at_once(blessed, tmp_path):
    root, run_folder = tmp_path / "runs", tmp_path / "runs" / "a_run"
    (root / "serving").mkdir(parents=True)
    run_folder.mkdir()
    (root / "serving" / "models.config").write_text("model_config_list {")
    with pytest.raises(ConfigError, match=r"cannot read .*models\.config"):
        execution.run(blessed, root=root, run_folder=run_folder, origins={})
    assert {path.name for path in root.iterdir()} == {"serving", "a_run"}


def test_a_run_is_known_to_tfx_by_its_name(tmp_path):
    run = tmp_path / "2026-11-22_0201_quick-heron"
    assert execution._run_id(run) == "2026-11-22_0201_quick-heron"
    member = run / "members" / "cnn_bn"
    assert execution._run_id(member) == "2026-11-22_0201_quick-heron.cnn_bn"


def test_a_tiny_run_reads_and_writes_versions_of_its_own_model_only(tmp_path):
    config = experiments.tiny(experiments.digits_resnet_20())
    found = inputs.resolve(config, tmp_path)
    pipeline = execution.create_pipeline(config, found, tmp_path)
    folders = {
        component.id: component.exec_properties["serving_folder"]
        for component in pipeline.components
        if "serving_folder" in component.exec_properties
    }
    assert folders.keys() == {"check", "baseline", "push"}
    assert set(folders.values()) == {str(tmp_path / "serving" / "digits-tiny")}


def test_the_cache_knows_what_auto_came_to(tmp_path, monkeypatch):
    config = experiments.tiny(experiments.digits_resnet_20())
    assert config.train.precision == "auto"
    found = inputs.resolve(config, tmp_path)
    keys = {}
    for flags in ("amx_bf16", "avx2"):
        monkeypatch.setattr(precision, "_cpu_flags", lambda facts, f=flags: {f})
        decided = execution._with_precision(config, tmp_path / "train")
        pipeline = execution.create_pipeline(decided, found, tmp_path)
        (train,) = (one for one in pipeline.components if one.id == "train")
        keys[decided.train.precision] = train.exec_properties["custom_config"]
    assert list(keys) == ["bfloat16", "float32"]
    first, second = keys.values()
    assert first != second
    assert first.replace('"bfloat16"', '"float32"') == second


def test_auto_is_what_an_unfinished_training_was_begun_in(tmp_path, monkeypatch):
    config = experiments.tiny(experiments.digits_resnet_20())
    monkeypatch.setattr(precision, "_cpu_flags", lambda facts: {"avx2"})
    causes = {
        "custom_config": {"config": as_json(config.trainer)},
        "precision": "bfloat16",
    }
    unfinished.claim(tmp_path / "train" / "model_run" / "7", causes)
    decided = execution._with_precision(config, tmp_path / "train")
    assert decided.train.precision == "bfloat16"
    assert execution._with_precision(config, None).train.precision == "float32"


def test_two_data_sets_of_one_experiment_share_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    root = tmp_path / "runs"
    pipelines = {}
    for name in ("cats", "dogs"):
        for label in ("old", "young"):
            folder = tmp_path / name / label
            folder.mkdir(parents=True)
            PIL.Image.new("RGB", (40, 30), "white").save(folder / "1.png")
        config = experiments.folder()
        data = dataclasses.replace(config.data, path=str(tmp_path / name))
        config = dataclasses.replace(config, data=data)
        found = inputs.resolve(config, root)
        pipelines[found.identity] = execution.create_pipeline(config, found, root)
    cats, dogs = pipelines.values()
    assert list(pipelines) == ["folder-cats", "folder-dogs"]
    assert cats.pipeline_info.pipeline_name == "folder-cats"
    assert cats.pipeline_info.pipeline_root == str(root / "folder-cats")
    assert dogs.pipeline_info.pipeline_root == str(root / "folder-dogs")
    root.mkdir(exist_ok=True)
    with runs.lock(root, "folder-cats"), runs.lock(root, "folder-dogs"):
        pass

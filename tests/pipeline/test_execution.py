import dataclasses
import logging
import types

import pytest

from pipeline import execution, experiments
from schema import models_config
from schema.errors import ConfigError


def test_a_report_that_fails_is_logged_and_fails_nothing(tmp_path, caplog):
    with caplog.at_level(logging.ERROR, "slimline.run"):
        execution._report(tmp_path)
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
    resolved = types.SimpleNamespace(name="digits")
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
    assert not (root / blessed.name).exists()


def test_a_run_is_known_to_tfx_by_its_name(tmp_path):
    run = tmp_path / "2026-11-22_0201_quick-heron"
    assert execution._run_id(run) == "2026-11-22_0201_quick-heron"
    member = run / "members" / "cnn_bn"
    assert execution._run_id(member) == "2026-11-22_0201_quick-heron.cnn_bn"

"""The baseline is the version that is live, or says that there is none."""

import pathlib

from tfx.types import standard_artifacts

from components.baseline_model import component
from pushed_models import models_config


def fetch(tmp_path: pathlib.Path, serving: pathlib.Path):
    baseline = standard_artifacts.Model()
    baseline.uri = str(tmp_path / "baseline")
    component.BaselineModel_Executor().Do(
        {"model": [standard_artifacts.Model()]},
        {"baseline_model": [baseline]},
        {"serving_folder": str(serving), "source_fingerprint": ""},
    )
    return baseline


def test_nothing_pushed_yet(tmp_path: pathlib.Path) -> None:
    baseline = fetch(tmp_path, tmp_path / "serving")
    assert baseline.get_int_custom_property(component.EXISTS_PROPERTY) == 0
    assert not baseline.get_string_custom_property(component.VERSION_PROPERTY)


def test_newest_whole_version_by_number(tmp_path: pathlib.Path) -> None:
    serving = tmp_path / "serving"
    for name in ("9", "10", "notes"):
        (serving / name).mkdir(parents=True)
        (serving / name / "saved_model.pb").write_text(name)
    (serving / "11").mkdir()  # half-made by another tool: no graph inside
    baseline = fetch(tmp_path, serving)
    assert baseline.get_int_custom_property(component.EXISTS_PROPERTY) == 1
    assert baseline.get_string_custom_property(component.VERSION_PROPERTY) == "10"
    copied = pathlib.Path(baseline.uri) / "Format-Serving" / "saved_model.pb"
    assert copied.read_text() == "10"


def test_after_a_rollback_it_is_the_version_that_is_live(
    tmp_path: pathlib.Path,
) -> None:
    serving = tmp_path / "serving" / "cats"
    for name in ("9", "10"):
        (serving / name).mkdir(parents=True)
        (serving / name / "saved_model.pb").write_text(name)
    pinned = models_config.Entry((9,), {models_config.STABLE: 9})
    models_config.write(serving.parent, {"cats": pinned})
    baseline = fetch(tmp_path, serving)
    assert baseline.get_string_custom_property(component.VERSION_PROPERTY) == "9"
    copied = pathlib.Path(baseline.uri) / "Format-Serving" / "saved_model.pb"
    assert copied.read_text() == "9"

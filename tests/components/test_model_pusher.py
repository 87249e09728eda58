"""A version is whole or absent, and versions rise."""

import concurrent.futures
import os
import pathlib
import time

import pytest
from tfx.components.evaluator import constants
from tfx.types import standard_artifacts

from components.model_pusher import component
from schema import versions


@pytest.fixture
def model(tmp_path: pathlib.Path) -> pathlib.Path:
    folder = tmp_path / "model"
    (folder / "variables").mkdir(parents=True)
    (folder / "saved_model.pb").write_bytes(b"graph")
    (folder / "variables" / "variables.index").write_bytes(b"index")
    return folder


def test_the_copy_is_whole(model: pathlib.Path, tmp_path: pathlib.Path) -> None:
    serving = tmp_path / "serving" / "cats"
    version = component.publish(model, serving)
    assert versions.newest(serving) == version
    pushed = serving / str(version)
    assert (pushed / "saved_model.pb").read_bytes() == b"graph"
    assert (pushed / "variables" / "variables.index").read_bytes() == b"index"
    assert [path.name for path in serving.iterdir()] == [str(version)]


def test_pushes_in_one_second_rise(
    model: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "time", lambda: 1_000.5)
    numbers = [component.publish(model, tmp_path / "serving") for _ in range(3)]
    assert numbers == [1000, 1001, 1002]


def test_a_clock_set_back_still_rises(
    model: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = component.publish(model, tmp_path / "serving")
    monkeypatch.setattr(time, "time", lambda: first - 86_400)
    assert component.publish(model, tmp_path / "serving") == first + 1


def test_pushes_at_once_take_different_numbers(
    model: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    serving = tmp_path / "serving"
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        numbers = list(pool.map(lambda _: component.publish(model, serving), range(16)))
    assert len(set(numbers)) == 16
    assert versions.numbers(serving) == sorted(numbers)


def test_a_failed_copy_leaves_nothing(
    model: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(path: pathlib.Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(component.durable, "sync", fail)
    with pytest.raises(OSError, match="No space"):
        component.publish(model, tmp_path / "serving")
    assert not list((tmp_path / "serving").iterdir())


def test_what_a_killed_push_left_is_swept_after_a_day(
    model: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    serving = tmp_path / "serving"
    old, young = serving / ".staging-old", serving / ".staging-young"
    for path in (old, young):
        path.mkdir(parents=True)
    two_days_ago = time.time() - 2 * 86_400
    os.utime(old, (two_days_ago, two_days_ago))
    component.publish(model, serving)
    assert not old.exists()
    assert young.exists()


def test_a_half_copied_version_is_not_seen(tmp_path: pathlib.Path) -> None:
    (tmp_path / "7").mkdir()
    (tmp_path / ".staging-abc").mkdir()
    assert versions.newest(tmp_path) is None


def push(
    tmp_path: pathlib.Path,
    model: pathlib.Path,
    is_blessed: bool,
    is_infra_blessed: bool | None = True,
):
    artifact = standard_artifacts.Model()
    artifact.uri = str(tmp_path / "artifact")
    target = tmp_path / "artifact" / "Format-Serving"
    target.parent.mkdir()
    model.rename(target)
    blessing = standard_artifacts.ModelBlessing()
    blessing.set_int_custom_property(
        constants.ARTIFACT_PROPERTY_BLESSED_KEY, int(is_blessed)
    )
    pushed = standard_artifacts.PushedModel()
    pushed.uri = str(tmp_path / "pushed")
    (tmp_path / "pushed").mkdir()
    inputs = {"model": [artifact], "model_blessing": [blessing]}
    if is_infra_blessed is not None:
        infra_blessing = standard_artifacts.InfraBlessing()
        infra_blessing.set_int_custom_property("blessed", int(is_infra_blessed))
        inputs["infra_blessing"] = [infra_blessing]
    component.Executor().Do(
        inputs,
        {"pushed_model": [pushed]},
        {"serving_folder": str(tmp_path / "serving")},
    )
    return pushed


def test_a_blessed_model_is_pushed(tmp_path: pathlib.Path, model: pathlib.Path) -> None:
    pushed = push(tmp_path, model, is_blessed=True)
    (version,) = versions.numbers(tmp_path / "serving")
    assert pushed.get_string_custom_property("pushed_version") == str(version)
    assert pushed.get_int_custom_property("pushed") == 1
    assert (tmp_path / "pushed" / "saved_model.pb").read_bytes() == b"graph"


@pytest.mark.parametrize(
    ("is_blessed", "is_infra_blessed"),
    [(False, True), (True, False), (False, False), (True, None)],
)
def test_a_model_without_both_blessings_is_not_pushed(
    tmp_path: pathlib.Path,
    model: pathlib.Path,
    is_blessed: bool,
    is_infra_blessed: bool | None,
) -> None:
    pushed = push(tmp_path, model, is_blessed, is_infra_blessed)
    assert not (tmp_path / "serving").exists()
    assert pushed.get_int_custom_property("pushed") == 0

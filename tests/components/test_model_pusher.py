"""A version is whole or absent, and versions rise; where they are pinned, the new is stable."""

import concurrent.futures
import errno
import itertools
import os
import pathlib
import shlex
import shutil
import subprocess
import sys
import time

import pytest
from tfx.components.evaluator import constants
from tfx.dsl.components.base import base_executor
from tfx.types import standard_artifacts

from common.errors import ConfigError
from components.model_pusher import component, publishing
from pushed_models import data_profile, models_config, version_history, versions
from pushed_models.models_config import Entry
from storage import manifest


@pytest.fixture
def serving(tmp_path: pathlib.Path) -> pathlib.Path:
    """Folder of the model's versions; nothing is there yet."""
    return tmp_path / "serving" / "cats"


def entry(serving: pathlib.Path) -> Entry:
    return models_config.read(serving.parent)["cats"]


def test_the_copy_is_whole(model: pathlib.Path, serving: pathlib.Path) -> None:
    version = component.publish(model, serving)
    assert versions.newest(serving) == version
    pushed = serving / str(version)
    assert (pushed / "saved_model.pb").read_bytes() == b"graph"
    assert (pushed / "variables" / "variables.index").read_bytes() == b"index"
    assert manifest.exists(pushed)
    assert manifest.problems(pushed) == []
    assert {path.name for path in serving.iterdir()} == {str(version), "history.jsonl"}


def test_the_profile_of_the_data_goes_with_the_version(
    model: pathlib.Path, serving: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    (tmp_path / "profile.pb").write_bytes(b"profile")
    version = publishing.publish(
        model, serving, data_profile_file=tmp_path / "profile.pb"
    )
    pushed = serving / str(version)
    assert data_profile.of_version(pushed).read_bytes() == b"profile"
    assert "assets.extra/data_profile.pb" in (pushed / manifest.FILE).read_text()
    assert not (model / "assets.extra").exists()


def test_the_first_push_names_the_model_for_the_server(
    model: pathlib.Path, serving: pathlib.Path
) -> None:
    """TensorFlow Serving loads no model that its file does not name."""
    (serving.parent / "dogs" / "3").mkdir(parents=True)
    (serving.parent / "dogs" / "3" / "saved_model.pb").touch()
    component.publish(model, serving)
    text = (serving.parent / "models.config").read_text()
    assert 'name: "cats"' in text
    assert 'name: "dogs"' in text
    assert "specific" not in text
    assert entry(serving) == Entry()


def test_the_newest_is_live_until_versions_are_pinned(
    model: pathlib.Path, serving: pathlib.Path
) -> None:
    numbers = [component.publish(model, serving) for _ in range(2)]
    assert models_config.live(serving) == numbers[1]
    models_config.write(
        serving.parent, {"cats": Entry((numbers[0],), {"stable": numbers[0]})}
    )
    new = component.publish(model, serving)
    # The former stable one stays loaded, so that going back is instant.
    assert entry(serving) == Entry((numbers[0], new), {"stable": new})
    newer = component.publish(model, serving)
    assert entry(serving) == Entry((new, newer), {"stable": newer})


def test_a_canary_stays_one_when_another_version_is_pushed(
    model: pathlib.Path, serving: pathlib.Path
) -> None:
    first, second = (component.publish(model, serving) for _ in range(2))
    pinned = Entry((first, second), {"stable": first, "canary": second})
    models_config.write(serving.parent, {"cats": pinned})
    third = component.publish(model, serving)
    assert entry(serving) == Entry(
        (first, second, third), {"stable": third, "canary": second}
    )


def test_each_push_is_a_row_of_the_history(
    model: pathlib.Path, serving: pathlib.Path
) -> None:
    first = component.publish(model, serving)
    second = component.publish(model, serving, by="2026-11-26_0440_quick-heron")
    rows = version_history.read(serving)
    assert [(row.action, row.version, row.former, row.by) for row in rows] == [
        ("push", first, None, ""),
        ("push", second, first, "2026-11-26_0440_quick-heron"),
    ]
    assert version_history.previous(serving, second, [first, second]) == first


def test_pushes_in_one_second_rise(
    model: pathlib.Path, serving: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "time", lambda: 1_000.5)
    numbers = [component.publish(model, serving) for _ in range(10)]
    assert numbers == list(range(1000, 1010))


@pytest.mark.parametrize("is_pinned", [False, True])
def test_a_clock_set_back_still_rises_and_goes_live(
    model: pathlib.Path,
    serving: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
    is_pinned: bool,
) -> None:
    first = component.publish(model, serving)
    if is_pinned:
        models_config.write(serving.parent, {"cats": Entry((first,))})
    monkeypatch.setattr(time, "time", lambda: first - 86_400)
    assert component.publish(model, serving) == first + 1
    assert models_config.live(serving) == first + 1


@pytest.mark.parametrize("is_pinned", [False, True])
def test_pushes_at_once_take_different_numbers(
    model: pathlib.Path, serving: pathlib.Path, is_pinned: bool
) -> None:
    first = component.publish(model, serving)
    if is_pinned:
        models_config.write(serving.parent, {"cats": Entry((first,))})
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        numbers = list(pool.map(lambda _: component.publish(model, serving), range(16)))
    rising = [first, *sorted(numbers)]
    assert len(set(numbers)) == 16
    assert versions.numbers(serving) == rising
    assert models_config.live(serving) == rising[-1]
    if is_pinned:
        assert entry(serving) == Entry(tuple(rising[-2:]), {"stable": rising[-1]})
    # One after another: each row goes on from the one before.
    rows = version_history.read(serving)
    assert [(row.former, row.version) for row in rows] == (
        [(None, first), *itertools.pairwise(rising)]
    )


def test_a_number_that_another_tool_has_taken_is_passed_over(
    model: pathlib.Path, serving: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (serving / "1000" / "variables").mkdir(parents=True)
    numbers = iter([1000, 1001])
    monkeypatch.setattr(publishing, "_next_version", lambda folder: next(numbers))
    assert component.publish(model, serving) == 1001


def fail_with(number: int):
    def fail(*arguments: object, **options: object) -> None:
        raise OSError(number, os.strerror(number))

    return fail


@pytest.mark.parametrize(
    ("module", "name"),
    [
        (publishing.durable, "sync"),
        (publishing.shutil, "copytree"),
        (publishing.manifest, "write"),
        (publishing.models_config, "write"),
    ],
)
@pytest.mark.parametrize("is_pinned", [False, True])
def test_a_push_that_fails_leaves_nothing(
    model: pathlib.Path,
    serving: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
    module: object,
    name: str,
    is_pinned: bool,
) -> None:
    first = component.publish(model, serving)
    if is_pinned:
        models_config.write(serving.parent, {"cats": Entry((first,))})
    before = entry(serving)
    monkeypatch.setattr(module, name, fail_with(errno.ENOSPC))
    with pytest.raises(ConfigError, match="no space left to push to") as caught:
        component.publish(model, serving)
    assert caught.value.found.endswith("MiB free")
    assert caught.value.expected == "0.0 MiB and a little more"
    assert caught.value.tip.startswith("slimline models prune cats --keep 2")
    assert {path.name for path in serving.iterdir()} == {str(first), "history.jsonl"}
    monkeypatch.undo()
    assert entry(serving) == before
    assert len(version_history.read(serving)) == 1


def test_other_failures_are_sentences_too(
    model: pathlib.Path, serving: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publishing.shutil, "copytree", fail_with(errno.EROFS))
    with pytest.raises(ConfigError, match=r"cannot push to .*: Read-only file system"):
        component.publish(model, serving)
    monkeypatch.undo()
    (model / "variables" / "pipe").symlink_to("nowhere")
    with pytest.raises(ConfigError, match=r"cannot push to .*: .*No such file"):
        component.publish(model, serving)
    assert not list(serving.iterdir())


def test_a_file_of_models_that_nobody_can_read_is_found_before_the_copy(
    model: pathlib.Path, serving: pathlib.Path
) -> None:
    serving.parent.mkdir()
    (serving.parent / "models.config").write_text("model_config_list {")
    with pytest.raises(ConfigError, match="cannot read"):
        component.publish(model, serving)
    assert not serving.exists()


def test_a_history_that_cannot_be_written_takes_no_push_back(
    model: pathlib.Path,
    serving: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(publishing.version_history, "append", fail_with(errno.ENOSPC))
    version = component.publish(model, serving)
    assert models_config.live(serving) == version
    assert "the push of cats is missing in its history" in caplog.text


def test_a_disk_that_is_really_full(
    model: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    """A version of 2 MB on a disk of 1 MB, then on one of 4 MB."""
    (model / "variables" / "variables.data").write_bytes(os.urandom(2_000_000))
    disk = tmp_path / "disk"
    disk.mkdir()
    script = f"""
import pathlib
import subprocess
from components.model_pusher.publishing import publish
from common.errors import ConfigError
model, folder = pathlib.Path({str(model)!r}), pathlib.Path({str(disk)!r}, "cats")
try:
    publish(model, folder)
except ConfigError as error:
    print(error.message, "|", error.found, "|", error.expected)
print([path.name for path in folder.iterdir()])
subprocess.run(["mount", "-o", "remount,size=4m", {str(disk)!r}], check=True)
version = publish(model, folder)
print(sorted(path.name for path in folder.iterdir()) == [str(version), "history.jsonl"])
"""
    mount = f"mount -t tmpfs -o size=1m tmpfs {shlex.quote(str(disk))}"
    own_mounts = [
        "unshare",
        "-m",
        "sh",
        "-ec",
        f'{mount} 2>/dev/null || exit 77; exec "$@"',
    ]
    if shutil.which("unshare") is None:
        pytest.skip("no unshare on this machine")
    result = subprocess.run(
        [*own_mounts, "sh", sys.executable, "-c", script],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    if result.returncode in (1, 77) and "Traceback" not in result.stderr:
        pytest.skip("a small disk cannot be mounted without more rights")
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines() == [
        f"no space left to push to {disk / 'cats'} | 1.0 MiB free | 1.9 MiB and a little"
        " more",
        "[]",
        "True",
    ]


def test_what_a_killed_push_left_is_swept_after_a_day(
    model: pathlib.Path, serving: pathlib.Path
) -> None:
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
    is_gate_open: bool = False,
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
    context = base_executor.BaseExecutor.Context(pipeline_run_id="quick-heron")
    component.ModelPusher_Executor(context).Do(
        inputs,
        {"pushed_model": [pushed]},
        {
            "serving_folder": str(tmp_path / "serving" / "cats"),
            "is_gate_open": int(is_gate_open),
            "force_reason": "",
            "source_fingerprint": "",
        },
    )
    return pushed


def test_a_blessed_model_is_pushed(tmp_path: pathlib.Path, model: pathlib.Path) -> None:
    pushed = push(tmp_path, model, is_blessed=True)
    (version,) = versions.numbers(tmp_path / "serving" / "cats")
    assert pushed.get_string_custom_property("pushed_version") == str(version)
    assert pushed.get_int_custom_property("pushed") == 1
    assert (tmp_path / "pushed" / "saved_model.pb").read_bytes() == b"graph"
    (row,) = version_history.read(tmp_path / "serving" / "cats")
    assert (row.version, row.by) == (version, "quick-heron")


def test_the_component_tells_the_history_of_an_open_gate(
    tmp_path: pathlib.Path, model: pathlib.Path
) -> None:
    push(tmp_path, model, is_blessed=True, is_gate_open=True)
    (row,) = version_history.read(tmp_path / "serving" / "cats")
    assert row.is_gate_open


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


def test_an_open_gate_replaces_no_version_that_had_thresholds(
    model: pathlib.Path, serving: pathlib.Path
) -> None:
    good = component.publish(model, serving)
    with pytest.raises(ConfigError, match=f"gate is open, and version {good}"):
        component.publish(model, serving, is_gate_open=True)
    assert versions.numbers(serving) == [good]
    forced = component.publish(
        model, serving, is_gate_open=True, force_reason="the old one is broken"
    )
    assert models_config.live(serving) == forced
    row = version_history.read(serving)[-1]
    assert (row.version, row.reason) == (forced, "the old one is broken")
    assert row.is_gate_open


def test_an_open_gate_replaces_what_passed_an_open_gate(
    model: pathlib.Path, serving: pathlib.Path
) -> None:
    first = component.publish(model, serving, is_gate_open=True)
    second = component.publish(model, serving, is_gate_open=True)
    assert version_history.had_open_gate(serving, first)
    assert models_config.live(serving) == second
    third = component.publish(model, serving)
    assert not version_history.had_open_gate(serving, third)

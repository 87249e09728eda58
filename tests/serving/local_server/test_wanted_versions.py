"""What the models folder asks for, whatever state it is in."""

import pytest

from schema import models_config
from serving.local_server import wanted_versions

Entry = models_config.Entry


@pytest.fixture
def folder(tmp_path):
    for version in (3, 9, 10):
        add(tmp_path, "cats", version)
    return tmp_path


def add(folder, name, version):
    (folder / name / str(version)).mkdir(parents=True)
    (folder / name / str(version) / "saved_model.pb").touch()


def remove(folder, name, version):
    (folder / name / str(version) / "saved_model.pb").unlink()
    (folder / name / str(version)).rmdir()


def test_without_pins_all_versions_are_candidates_the_newest_first(folder):
    (folder / "cats" / "11").mkdir()  # half a copy
    (folder / "cats" / ".staging-12").mkdir()
    (folder / "cats" / ".staging-12" / "saved_model.pb").touch()
    wanted = wanted_versions.Watcher(folder).look()["cats"]
    assert wanted.candidates == (10, 9, 3)
    assert not wanted.is_pinned


def test_pins_and_labels_name_what_is_wanted_stable_first(folder):
    entry = Entry((9,), {"stable": 3, "canary": 10, "old": 4})
    models_config.write(folder, {"cats": entry})
    wanted = wanted_versions.Watcher(folder).look()["cats"]
    assert wanted.candidates == (3, 10, 9)
    assert wanted.is_pinned
    assert wanted.missing == (4,)
    assert wanted.there == (10, 9, 3)


def test_pins_that_lead_nowhere_leave_the_newest(folder):
    models_config.write(folder, {"cats": Entry((77,), {"stable": 77})})
    wanted = wanted_versions.Watcher(folder).look()["cats"]
    assert wanted.candidates == (10, 9, 3)
    assert not wanted.is_pinned
    assert wanted.missing == (77,)


def test_a_version_is_gone_when_three_looks_have_missed_it(folder):
    watcher = wanted_versions.Watcher(folder)
    watcher.look()
    remove(folder, "cats", 10)
    found = [watcher.look()["cats"].candidates[0] for _ in range(3)]
    assert found == [10, 10, 9]
    add(folder, "cats", 10)
    assert watcher.look()["cats"].candidates[0] == 10


def test_a_model_is_gone_with_its_folder_only(folder):
    watcher = wanted_versions.Watcher(folder)
    add(folder, "dogs", 1)
    watcher.look()
    for version in (3, 9, 10):
        remove(folder, "cats", version)
    remove(folder, "dogs", 1)
    (folder / "dogs").rmdir()
    for _ in range(5):
        wanted = watcher.look()
    assert wanted["cats"].candidates == ()
    assert "dogs" not in wanted


def test_what_cannot_be_read_changes_nothing(folder, caplog):
    watcher = wanted_versions.Watcher(folder)
    before = watcher.look()
    (folder / models_config.FILE).write_text("model_config_list {")
    add(folder, "cats", 11)
    assert watcher.look() == watcher.look() == before
    assert "models.config" in watcher.problem
    assert str(folder) not in watcher.problem
    assert len(caplog.records) == 1  # said once, not with every look
    (folder / models_config.FILE).unlink()
    assert watcher.look()["cats"].candidates[0] == 11
    assert watcher.problem == ""


def test_a_folder_that_vanishes_changes_nothing(folder, tmp_path):
    watcher = wanted_versions.Watcher(folder)
    before = watcher.look()
    folder.rename(tmp_path.with_name("elsewhere"))
    for _ in range(5):
        assert watcher.look() == before
    assert watcher.problem


def test_a_folder_may_appear_later(tmp_path):
    watcher = wanted_versions.Watcher(tmp_path / "serving")
    assert watcher.look() == {}
    assert watcher.problem == ""
    add(tmp_path / "serving", "cats", 1)
    assert watcher.look()["cats"].candidates == (1,)


@pytest.mark.parametrize("name", ["two words", ".hidden", "x" * 65, "naïve"])
def test_names_that_no_request_can_hold_are_left_out(folder, caplog, name):
    add(folder, name, 1)
    watcher = wanted_versions.Watcher(folder)
    assert list(watcher.look()) == list(watcher.look()) == ["cats"]
    assert len(caplog.records) == 1

"""What the models folder asks for, whatever state it is in."""

import pytest

from common.errors import ConfigError
from pushed_models import models_config
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
    wanted = wanted_versions.look(folder, ())["cats"]
    assert wanted.numbers == (10, 9, 3)
    assert not wanted.is_pinned


def test_pins_and_labels_name_what_is_wanted_stable_first(folder):
    entry = Entry((9,), {"stable": 3, "canary": 10, "old": 4})
    models_config.write(folder, {"cats": entry})
    wanted = wanted_versions.look(folder, ())["cats"]
    assert wanted.numbers == (3, 10, 9)
    assert wanted.is_pinned
    assert wanted.missing == (4,)
    assert set(wanted.folders) == {10, 9, 3}


def test_pins_that_lead_nowhere_leave_the_newest(folder):
    models_config.write(folder, {"cats": Entry((77,), {"stable": 77})})
    wanted = wanted_versions.look(folder, ())["cats"]
    assert wanted.numbers == (10, 9, 3)
    assert not wanted.is_pinned
    assert wanted.missing == (77,)


def test_a_version_whose_number_has_zeros_before_it(folder):
    (folder / "cats" / "0000123").mkdir()
    (folder / "cats" / "0000123" / "saved_model.pb").touch()
    (folder / "cats" / "0009").mkdir()
    (folder / "cats" / "0009" / "saved_model.pb").touch()
    (folder / "dogs" / "00000001").mkdir(parents=True)
    (folder / "dogs" / "00000001" / "saved_model.pb").touch()
    found = wanted_versions.look(folder, ())
    assert found["cats"].numbers == (123, 10, 9, 3)
    assert found["cats"].folders[123].name == "0000123"
    assert found["cats"].folders[9].name == "9"
    assert found["dogs"].numbers == (1,)


def test_a_model_is_gone_with_its_folder_only(folder):
    add(folder, "dogs", 1)
    served = wanted_versions.look(folder, ())
    for version in (3, 9, 10):
        remove(folder, "cats", version)
    remove(folder, "dogs", 1)
    (folder / "dogs").rmdir()
    wanted = wanted_versions.look(folder, served)
    assert wanted["cats"].numbers == ()
    assert "dogs" not in wanted


def test_what_cannot_be_read_is_an_error(folder):
    (folder / models_config.FILE).write_text("model_config_list {")
    with pytest.raises(ConfigError, match=r"models\.config"):
        wanted_versions.look(folder, ["cats"])


def test_a_folder_may_appear_later_and_must_not_vanish(folder, tmp_path):
    elsewhere = tmp_path.with_name("elsewhere")
    assert wanted_versions.look(elsewhere, ()) == {}
    folder.rename(elsewhere)
    assert set(wanted_versions.look(elsewhere, ())) == {"cats"}
    with pytest.raises(FileNotFoundError):
        wanted_versions.look(folder, ["cats"])


@pytest.mark.parametrize("name", ["two words", ".hidden", "x" * 65, "naïve"])
def test_names_that_no_request_can_hold_are_left_out(folder, caplog, name):
    add(folder, name, 1)
    wanted_versions._is_valid_name.cache_clear()
    for _ in range(2):
        assert set(wanted_versions.look(folder, ())) == {"cats"}
    assert len(caplog.records) == 1

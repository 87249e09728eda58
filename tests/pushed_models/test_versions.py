"""Which folders are versions."""

import pathlib

import pytest

from pushed_models import versions


@pytest.fixture
def folder(tmp_path: pathlib.Path) -> pathlib.Path:
    for name in ("9", "10", "notes", ".staging-1", "007", "١٢", "1.0", "-3", "9" * 30):
        (tmp_path / name).mkdir()
        (tmp_path / name / "saved_model.pb").touch()
    (tmp_path / "11").mkdir()  # half-made by another tool: no graph inside
    (tmp_path / "0").mkdir()
    (tmp_path / "0" / "saved_model.pb").touch()
    return tmp_path


def test_numbers_are_complete_and_rise(folder) -> None:
    assert versions.numbers(folder) == [0, 9, 10]
    assert versions.newest(folder) == 10


def test_present_are_incomplete_ones_too(folder) -> None:
    assert versions.present(folder) == [0, 9, 10, 11]


def test_nothing_pushed_yet(tmp_path) -> None:
    assert versions.numbers(tmp_path / "none") == versions.present(tmp_path) == []
    assert versions.newest(tmp_path / "none") is None

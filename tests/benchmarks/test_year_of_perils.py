"""Seasons in which everything fails that can: no night is lost, no wrong model is live."""

import pathlib

import pytest
import year_of_perils

from pipeline.slots import rows


@pytest.mark.parametrize("seed", [15, pytest.param(16, marks=pytest.mark.nightly)])
def test_no_night_is_lost_and_no_wrong_model_goes_live(
    tmp_path: pathlib.Path, seed: int
) -> None:
    year = year_of_perils.run(tmp_path, 60, seed=seed)
    assert (year.lost, year.wrongly_live, year.errors) == ([], [], [])
    assert len(year.slots) == 60
    assert year.kills > 5 and len(year.events) > 6
    states = {row.state for row in year.slots}
    assert {rows.DONE, rows.REFUSED, rows.SKIPPED} <= states <= set(rows.ENDED)
    summary = year.summary()
    assert "60 nights" in summary and "wrongly live: 0" in summary


@pytest.mark.nightly
def test_classes_compared_by_number_are_found_out(tmp_path: pathlib.Path) -> None:
    """What the simulation is for: an evaluation without names lets wrong models through."""
    year = year_of_perils.run(
        tmp_path, 60, seed=15, compares_by=year_of_perils.BY_NUMBER
    )
    assert year.lost == []
    assert year.wrongly_live

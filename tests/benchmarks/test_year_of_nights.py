"""A few nights of the year, with everything but the work of the components."""

import pathlib

import year_of_nights
from PIL import Image


def test_nights(tmp_path: pathlib.Path, monkeypatch) -> None:
    monkeypatch.setattr(year_of_nights, "QUIET_NIGHT", 3)
    nights = year_of_nights.run(tmp_path, 5, keep_runs=1, keep_versions=1)
    assert [night["state"] for night in nights] == [
        *("done", "done", "skipped", "done", "done")
    ]
    *_, fourth, fifth = nights
    # One run and one version beside the live one are kept: disk and files stay, rows grow.
    assert fifth["versions"] == fourth["versions"] <= 3
    metadata = fifth["metadata_bytes"] - fourth["metadata_bytes"]
    assert 0 <= metadata < 200_000
    assert abs(fifth["bytes"] - fourth["bytes"] - metadata) < 100_000
    assert fifth["files"] - fourth["files"] < 10
    picture = tmp_path / "nights.png"
    year_of_nights.draw(picture, nights, 1)
    assert Image.open(picture).size[0] > 1000
    assert "MB of metadata store" in year_of_nights.summary(nights)

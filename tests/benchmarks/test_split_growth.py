"""Moves between splits, on a few small classes."""

import json
import pathlib

import split_growth


def test_counts_the_moves(tmp_path: pathlib.Path) -> None:
    file = tmp_path / "found.json"
    options = ["--images", "2000", "--starts", "2", "20", "--json", str(file)]
    assert split_growth.main(options) == 0
    small, large = json.loads(file.read_text())["rows"]
    # From two to three images a class is cut for the first time: nearly one goes to test.
    assert 0.5 < small["moves"]["train test"] < 1
    assert small["seen"] > 0
    assert large["end"] == 186
    assert "train test" not in large["moves"]
    assert large["seen"] == 0

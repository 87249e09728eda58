"""A training killed at any file event goes on to the same end."""

import json
import pathlib

import pytest

SCRIPT = pathlib.Path(__file__).with_name("kill_and_resume.py")
# Of some sixty events; the first checkpoint is written at the first dozen, the others
# while a checkpoint, its record, a measurement or the clean-up is in progress.
POINTS = (5, 8, 11, 14, 23, 35, 47, 59, 60, 61)
FEW = (14, 35, 47)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("settings", "points", "fewest_kills"),
    [
        # The tools are beside all that is plain.
        ("tools", (35,), 1),
        pytest.param("plain", POINTS, 7, marks=pytest.mark.nightly),
        pytest.param("tools", FEW, 3, marks=pytest.mark.nightly),
    ],
    ids=lambda value: f"{len(value)} kills" if isinstance(value, tuple) else None,
)
def test_killed_at_a_file_event_it_ends_as_the_unbroken_one(
    warm_forks, tmp_path, settings, points, fewest_kills
):
    words = ["python", str(SCRIPT), settings, str(tmp_path), "0", *map(str, points)]
    result = warm_forks.run(words, tmp_path)
    assert result.returncode == 0, result.stderr[-3000:]
    unbroken, *resumed = map(json.loads, result.stdout.splitlines())
    assert [row["step"] for row in unbroken["history"]] == [3, 6, 9, 12]
    # The plateau cut the rate once, so that its state is worth carrying over.
    assert unbroken["history"][-1]["learning_rate"] == pytest.approx(0.005)
    assert [row["step"] for row in unbroken["losses"]] == list(range(1, 13))
    assert len(resumed) == len(points)
    for training in resumed:
        point = training["point"]
        assert training["ended_well"], result.stderr[-3000:]
        assert training["history"] == unbroken["history"], point
        assert training["losses"] == unbroken["losses"], point
        assert training["weights"] == unbroken["weights"], point
        assert training["leftovers"] == [], point
    assert sum(training["was_killed"] for training in resumed) >= fewest_kills

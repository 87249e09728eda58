"""The comparison of evaluations: its figures, and a round that fails."""

import json

import evaluation
import pytest

ROUNDS = {
    "ours": [
        {"seconds": 3.0, "cpu_seconds": 2.0, "metrics": {"top_1": 0.5}},
        {"seconds": 9.0, "cpu_seconds": 4.0, "metrics": {"top_1": 0.5}},
        {"seconds": 1.0, "cpu_seconds": 3.0, "metrics": {"top_1": 0.25}},
    ],
    "before": [{"seconds": 7.0, "cpu_seconds": 5.0, "metrics": {"top_1": 0.75}}],
}
for _round in [each for of_name in ROUNDS.values() for each in of_name]:
    _round["metrics"]["example_count"] = 10.0


def test_medians_and_the_largest_difference() -> None:
    found = evaluation.result_of("ours", ROUNDS["ours"])
    assert (found["contender"], found["images"], found["top_1"]) == ("ours", 10, 0.5)
    assert (found["seconds"], found["cpu_seconds"]) == (3.0, 3.0)
    assert found["rounds"][1] == {"seconds": 9.0, "cpu_seconds": 4.0}
    assert evaluation.largest_difference(ROUNDS) == 0.5


def test_each_checkout_has_its_turn(monkeypatch, tmp_path, capsys) -> None:
    worker = tmp_path / "worker.py"
    worker.write_text(
        "import json, os, sys\n"
        "is_before = os.environ['PYTHONPATH'].endswith('before')\n"
        "print('a line of a library')\n"
        "print(json.dumps({'seconds': 2.0, 'cpu_seconds': 4.0 if is_before else 1.0,"
        " 'metrics': {'top_1': len(sys.argv) / 10, 'example_count': 7.0}}))\n"
    )
    monkeypatch.setattr(evaluation, "WORKER", worker)
    file = tmp_path / "result.json"
    given = ["model", "examples", "--baseline", "other", "--rounds", "2"]
    given += ["--before", str(tmp_path / "before"), "--json", str(file)]
    assert evaluation.main(given) == 0
    ours, before = json.loads(file.read_text())["results"]
    assert (ours["cpu_seconds"], before["cpu_seconds"]) == (1.0, 4.0)
    assert len(before["rounds"]) == 2
    assert ours["top_1"] == 0.4  # three folders were handed on
    assert "7 images, top-1 0.4000" in capsys.readouterr().out


def test_a_round_that_fails_is_told_in_a_sentence(
    monkeypatch: pytest.MonkeyPatch, tmp_path, capsys
) -> None:
    worker = tmp_path / "worker.py"
    worker.write_text("raise SystemExit('no such model')\n")
    monkeypatch.setattr(evaluation, "WORKER", worker)
    assert evaluation.main(["model", "examples"]) == 1
    assert capsys.readouterr().err.endswith(": no such model\n")

"""The real chain by night: train, push, drift, warm start, tidy up; two data sets at once."""

import json
import pathlib
import subprocess

import numpy as np
import pytest

from components.example_validator import component as example_validator
from components.model_pusher import publishing
from pipeline.runs import lineage
from pipeline.slots import rows
from pipeline.slots.ledger import FILE, Ledger
from pushed_models import data_profile, models_config, version_history, versions
from slimline.cli import main, schedule

pytestmark = pytest.mark.e2e

SETTINGS = {
    "data.eval_fraction": 0.1,
    "data.check_images": 0,
    "model.net": "mlp_bn",
    "train.steps": 2,
}


@pytest.fixture(autouse=True)
def forked_runs(warm_forks, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs are commands, as by night, and forks; that the real one starts is seen first."""
    shown = subprocess.run(
        [*schedule._COMMAND, "--version"], capture_output=True, text=True, check=True
    )
    assert shown.stdout.startswith("slimline ")
    monkeypatch.setattr(schedule, "_COMMAND", warm_forks.command("slimline"))


@pytest.fixture(scope="module")
def spans(tmp_path_factory, new_fakes):
    """Function (number, is_dark) that lets a span of CIFAR-10 arrive; gives the pattern."""
    folder = tmp_path_factory.mktemp("spans")
    fakes = new_fakes(1)

    def arrive(number: int, *, is_dark: bool = False) -> str:
        binary = fakes.cifar10_binary(folder / "made" / str(number), 100)
        for file in binary.glob("*.bin"):
            table = np.frombuffer(file.read_bytes(), np.uint8).reshape(-1, 3073).copy()
            if is_dark:
                table[:, 1:] //= 3
            file.write_bytes(table.tobytes())
        fakes.pack(binary, folder / f"cifar10-{number}.tar.gz")
        return str(folder / "cifar10-{SPAN}.tar.gz")

    return arrive


def test_nights(spans, tmp_path: pathlib.Path, capfd) -> None:
    root = tmp_path / "runs"
    serving = root / versions.SERVING_FOLDER
    before = full_size(serving, "cifar10", tmp_path)

    def tick(pattern: str) -> tuple[int, dict]:
        options = ["--on-new-span", "--settle", "0", "--warm-start", "--tiny", "--json"]
        options += ["--keep-runs", "1", "--root", str(root), "--data", pattern]
        for key, value in SETTINGS.items():
            options += ["--set", f"{key}={value}"]
        code = main.main(["schedule", "tick", "cifar10_resnet_20", *options])
        return code, json.loads(capfd.readouterr().out)

    code, first = tick(spans(1))
    (row,) = first["rows"]
    assert (code, row["state"], row["span"]) == (0, rows.DONE, 1), first
    version = row["pushed_version"]
    tiny = serving / "cifar10-tiny"
    assert data_profile.of_version(tiny / version).is_file()

    code, drifted = tick(spans(2, is_dark=True))
    (row,) = drifted["rows"]
    assert (code, row["state"], row["span"]) == (4, rows.REFUSED, 2), drifted
    assert row["reason"].startswith(
        f"the data have drifted from those that version {version} was trained on:"
        " image/brightness: Jensen-Shannon divergence "
    )
    assert ", at most 0.1 (mean 0." in row["reason"]
    assert versions.numbers(tiny) == [int(version)]

    code, third = tick(spans(3))
    (row,) = third["rows"]
    assert (code, row["state"], row["span"]) == (0, rows.DONE, 3), third
    assert row["pushed_version"] > version
    config = json.loads((root / row["run"] / "config.json").read_text())["settings"]
    assert config["train.weights"]["value"] == "blessed"
    assert config["data.span"]["value"] == 3
    summary = json.loads((root / row["run"] / "summary.json").read_text())
    assert summary["baseline_version"] == version
    (anomalies,) = summary["artifacts"]["check"]["anomalies"]
    measured = example_validator.read_distances(anomalies)
    assert measured["version"] == int(version)
    assert {distance["feature"] for distance in measured["distances"]} == {
        "image/brightness",
        "image/contrast",
        "image/height",
        "image/width",
        "image/class/text",
    }
    assert all(distance["value"] < 0.1 for distance in measured["distances"])

    # The artifacts of the first two are gone, and what they were is still told.
    examples = root / "cifar10-resnet-20-cifar10-tiny" / "ingest" / "examples"
    (left,) = (path.name for path in examples.iterdir() if path.is_dir())
    assert {path.name for path in examples.iterdir()} == {left, f"{left}.manifest.json"}
    assert [found.is_pruned for found in Ledger(root / FILE).history()] == [
        True,
        True,
        False,
    ]
    steps = lineage.of_version(root, tiny / version)
    assert [step.facts["span"] for step in steps if step.component == "ingest"] == [1]
    assert state(serving, "cifar10") == before


def full_size(
    serving: pathlib.Path, name: str, folder: pathlib.Path
) -> tuple[object, ...]:
    """Publishes a model of the data set at its full size, which tiny runs leave alone."""
    candidate = folder / "candidate"
    candidate.mkdir()
    (candidate / versions.SAVED_MODEL_FILE).write_bytes(b"a model of top-1 0.985")
    publishing.publish(candidate, serving / name, by="the night before")
    return state(serving, name)


def state(serving: pathlib.Path, name: str) -> tuple[object, ...]:
    """All that makes a model and its versions."""
    files = sorted(path for path in (serving / name).rglob("*") if path.is_file())
    return (
        [(path, path.read_bytes()) for path in files],
        models_config.read(serving)[name],
        version_history.read(serving / name),
    )


@pytest.mark.nightly
def test_two_data_sets_on_one_root(tmp_path, monkeypatch, fakes, capfd) -> None:
    """One experiment, two schedules: both train, and both models are live.

    They are tiny, so that a model of the same data set at its full size stays as it is.
    """
    monkeypatch.chdir(tmp_path)
    serving = tmp_path / "runs" / versions.SERVING_FOLDER
    before = full_size(serving, "pets", tmp_path)
    pushed = {}
    for name, classes in (("pets", ("cat", "dog")), ("birds", ("owl", "wren"))):
        fakes.class_folders(tmp_path / name, classes)
        assert main.main(["data", "init", name]) == 0
        capfd.readouterr()
        options = ["--data", name, "--settle", "0", "--tiny", "--json"]
        # Whatever the time is, there was a slot within the last hour.
        options += ["--cron", "@hourly", "--grace", "61", "--root", "runs"]
        options += ["--set", "data.check_images=0"]
        code = main.main(["schedule", "tick", "folder", *options])
        (row,) = json.loads(capfd.readouterr().out)["rows"]
        assert (code, row["state"]) == (0, rows.DONE), row
        assert row["pipeline"] == f"folder/{name}/{name}-tiny"
        pushed[name] = int(row["pushed_version"])
        summary = json.loads(
            pathlib.Path("runs", row["run"], "summary.json").read_text()
        )
        assert summary["baseline_version"] is None
    for name, version in pushed.items():
        assert models_config.live(serving / f"{name}-tiny") == version
    assert state(serving, "pets") == before

"""A sweep of two small members on real components."""

import csv
import dataclasses
import json
import logging
import os
import signal
import subprocess

import pytest

from common.errors import ConfigError
from pipeline import execution
from pipeline.config import OPEN_GATE
from pipeline.runs import runs
from pipeline.sweeps import execution as sweep_execution
from pushed_models import versions
from trainer.config import as_json

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def house(shared_house, two_steps):
    return shared_house


@pytest.fixture(autouse=True)
def small(small_net):
    """Both members are of a net that is built in no time."""


def members_of(house, **train):
    config = house.config(steps=4, **train)
    config = dataclasses.replace(config, evaluation=OPEN_GATE)
    return {
        net: dataclasses.replace(
            config, model=dataclasses.replace(config.model, net=net)
        )
        for net in ("resnet_8", "mlp_bn")
    }


def run(house, members):
    folder = runs.create(house.root, as_json(next(iter(members.values()))), {})
    rows = sweep_execution.run(members, root=house.root, run_folder=folder, origins={})
    return folder, rows


def executions(house, component):
    """Folders that executions of a component left behind."""
    return sorted(
        path.name
        for channel in (house.root / "cifar10-resnet-20-cifar10" / component).iterdir()
        if not channel.name.startswith(".")
        for path in channel.iterdir()
        if path.is_dir()  # a file beside each is its manifest
    )


def test_members_share_examples_and_are_not_trained_again(house, caplog):
    """They also share those of the run before them on this root."""
    caplog.set_level(logging.INFO, "slimline.progress")  # as in every command
    components = ("ingest", "transform", "train", "push")
    before = {each: set(executions(house, each)) for each in components}
    pushed = versions.numbers(house.serving)
    folder, rows = run(house, members_of(house))
    assert [row.net for row in rows] == ["resnet_8", "mlp_bn"]
    assert [row.parameters for row in rows] == [75_290, 40_810]
    assert all(row.steps == 4 and row.training_seconds > 0 for row in rows)
    after = {each: set(executions(house, each)) for each in components}
    trained = after.pop("train")
    assert len(trained - before.pop("train")) == 2
    assert after == before
    with (folder / "results.csv").open(newline="") as file:
        assert [row["member"] for row in csv.DictReader(file)] == [
            "resnet_8",
            "mlp_bn",
        ]
    assert (folder / "curves.png").exists()
    assert (folder / "members" / "mlp_bn" / "history.csv").exists()
    settings = json.loads((folder / "members" / "mlp_bn" / "settings.json").read_text())
    assert settings["model.net"] == "mlp_bn"
    # By this `slimline control` finds a training that goes on in a sweep.
    note = (folder / runs.TRAINING_FOLDER_FILE).read_text()
    member = folder / "members" / "mlp_bn"
    assert note == (member / runs.TRAINING_FOLDER_FILE).read_text()
    # Nothing is deployed by a comparison.
    assert versions.numbers(house.serving) == pushed

    again, same = run(house, members_of(house))
    assert again != folder
    assert same == rows
    assert set(executions(house, "train")) == trained
    for member in ("resnet_8", "mlp_bn"):
        summary = json.loads((again / "members" / member / "summary.json").read_text())
        assert summary["is_cached"]
        assert summary["pushed_version"] is None


def test_a_member_that_fails_does_not_hold_up_the_others(house):
    members = members_of(house)
    broken = members["resnet_8"]
    members["resnet_8"] = dataclasses.replace(
        broken,
        train=dataclasses.replace(broken.train, learning_rate=1e30, steps=40),
    )
    _, rows = run(house, members)
    assert rows[0].note.startswith("failed: loss became NaN")
    assert rows[1].note == ""
    assert rows[1].steps == 4


def test_an_interrupt_ends_the_sweep_whoever_wraps_it(house, monkeypatch):
    """Beam makes a RuntimeError of the Ctrl-C that ends a step."""

    def interrupted(*arguments):
        raise RuntimeError("a step failed") from KeyboardInterrupt()

    monkeypatch.setattr(execution.ObservedRunner, "run", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(house, members_of(house, seed=7))


def test_what_no_one_foresaw_does_not_hold_up_the_others(house, monkeypatch):
    run_member = execution.run

    def run_but_one(config, **options):
        if config.model.net == "resnet_8":
            raise MemoryError("no room for conv1\nand a second line")
        return run_member(config, **options)

    monkeypatch.setattr(execution, "run", run_but_one)
    _, rows = run(house, members_of(house))
    assert rows[0].note == "failed: MemoryError: no room for conv1"
    assert rows[1].eval_top_1 is not None


def test_a_mistake_in_the_settings_ends_the_sweep(house, monkeypatch):
    def refuse(config, **options):
        raise ConfigError("no data contract for 'x'")

    monkeypatch.setattr(execution, "run", refuse)
    with pytest.raises(ConfigError, match="no data contract"):
        run(house, members_of(house))


def test_no_one_else_begins_between_two_members(house, monkeypatch, warm_forks):
    """The lock is held for the whole sweep, not by each member anew."""
    name = "cifar10-resnet-20-cifar10"
    seen = []

    def look(config, **options):
        with runs.lock(house.root, name):
            pass  # the member takes it, too, and gives it back
        script = (
            "import pathlib; from pipeline.runs import runs;"
            f"runs.lock(pathlib.Path({str(house.root)!r}), {name!r})"
        )
        other = warm_forks.run(["python", "-c", script], house.root)
        seen.append(other.stderr)
        raise MemoryError("enough")

    monkeypatch.setattr(execution, "run", look)
    run(house, members_of(house))
    assert len(seen) == 2
    for text in seen:
        assert f"another run of '{name}' is in progress" in text


@pytest.mark.nightly
def test_a_killed_sweep_goes_on_where_it_was(tmp_path, fakes, warm_forks):
    """The command itself: killed in the second member, then given again."""
    data = fakes.idx(tmp_path / "idx", 200, height_px=28, width_px=28)
    command = [
        *("slimline", "sweep", "mnist_mlp_bn", "--plain", "--json"),
        *("--data", str(data), "--set", "train.steps=300"),
    ]
    environment = {**os.environ, "HOME": str(tmp_path)}
    first = warm_forks.start(command, tmp_path, environment, stderr=subprocess.PIPE)
    seen = []
    for line in first.stderr:
        seen.append(line)
        trains = "component_started component=train" in line
        if trains and any("member=no_batch_norm" in told for told in seen):
            break
    first.send_signal(signal.SIGKILL)
    first.communicate()
    assert any("member_finished" in line for line in seen), "".join(seen)

    second = warm_forks.run(command, tmp_path, environment)
    assert second.returncode == 0, second.stderr
    told = json.loads(second.stdout)
    assert [row["member"] for row in told["rows"]] == ["batch_norm", "no_batch_norm"]
    trained = [
        line for line in second.stderr.splitlines() if "component=train " in line
    ]
    finished = [line for line in trained if "component_finished" in line]
    assert "is_cached=true" in finished[0]
    assert "is_cached=false" in finished[1]
    ended = [line for line in second.stderr.splitlines() if "member_finished" in line]
    assert "(from the cache)" in ended[0]
    assert "(from the cache)" not in ended[1]
    assert (tmp_path / told["curves"]).exists()
    # By this `slimline control` finds the training that goes on in a sweep.
    folder = tmp_path / told["folder"]
    note = (folder / runs.TRAINING_FOLDER_FILE).read_text()
    member = folder / "members" / "no_batch_norm"
    assert note == (member / runs.TRAINING_FOLDER_FILE).read_text()
    assert not (tmp_path / "runs" / "serving").exists()

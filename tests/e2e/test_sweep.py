"""A sweep of two small members on real components."""

import csv
import dataclasses
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

from pipeline import runs, sweep_execution
from pipeline.config import EvaluationConfig
from trainer.config import as_json

pytestmark = pytest.mark.e2e

BIN = pathlib.Path(sys.executable).parent


@pytest.fixture(scope="module")
def house(make_house):
    return make_house()


def members_of(house, **train):
    config = house.config(steps=4, **train)
    open_gate = EvaluationConfig(min_top_1=0.0, max_top_1_drop=1.0)
    config = dataclasses.replace(config, evaluation=open_gate)
    return {
        net: dataclasses.replace(
            config, model=dataclasses.replace(config.model, net=net)
        )
        for net in ("resnet_20", "resnet_32")
    }


def run(house, members):
    folder = runs.create(house.root, as_json(next(iter(members.values()))), {})
    rows = sweep_execution.run(members, root=house.root, run_folder=folder, origins={})
    return folder, rows


def executions(house, component):
    """Folders that executions of a component left behind."""
    return sorted(
        path.name
        for channel in (house.root / "cifar10_resnet_20" / component).iterdir()
        if not channel.name.startswith(".")
        for path in channel.iterdir()
    )


def test_members_share_examples_and_are_not_trained_again(house):
    folder, rows = run(house, members_of(house))
    assert [row.net for row in rows] == ["resnet_20", "resnet_32"]
    assert [row.parameters for row in rows] == [269_722, 464_154]
    assert all(row.steps == 4 and row.training_seconds > 0 for row in rows)
    for component in ("ingest", "transform"):
        assert len(set(executions(house, component))) == 1
    assert len(set(executions(house, "train"))) == 2
    with (folder / "results.csv").open(newline="") as file:
        assert [row["member"] for row in csv.DictReader(file)] == [
            "resnet_20",
            "resnet_32",
        ]
    assert (folder / "curves.png").exists()
    assert (folder / "members" / "resnet_32" / "history.csv").exists()
    # Nothing is deployed by a comparison.
    assert not house.serving.exists()

    again, same = run(house, members_of(house))
    assert again != folder
    assert same == rows
    assert len(set(executions(house, "train"))) == 2


def test_a_member_that_fails_does_not_hold_up_the_others(house):
    members = members_of(house)
    broken = members["resnet_20"]
    members["resnet_20"] = dataclasses.replace(
        broken,
        train=dataclasses.replace(broken.train, learning_rate=1e30, steps=40),
    )
    _, rows = run(house, members)
    assert rows[0].note.startswith("failed: the loss is not a number")
    assert rows[1].note == ""
    assert rows[1].steps == 4


def test_a_killed_sweep_goes_on_where_it_was(tmp_path, test_data):
    """The command itself, on MNIST: killed in the second member, then given again."""
    command = [
        *(str(BIN / "slimline"), "sweep", "mnist_mlp_bn", "--plain", "--json"),
        *("--data", str(test_data / "mnist"), "--set", "train.eval_every_epochs=0.2"),
    ]
    environment = {**os.environ, "HOME": str(tmp_path)}
    first = subprocess.Popen(
        [*command, "--set", "train.steps=300"],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    seen = []
    for line in first.stderr:
        seen.append(line)
        if "member_started" in line and "no_batch_norm" in line:
            break
    time.sleep(2)
    first.send_signal(signal.SIGKILL)
    first.communicate()
    assert any("member_finished" in line for line in seen), "".join(seen)

    second = subprocess.run(
        [*command, "--set", "train.steps=300"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert second.returncode == 0, second.stderr
    told = json.loads(second.stdout)
    assert [row["member"] for row in told["rows"]] == ["batch_norm", "no_batch_norm"]
    trained = [
        line for line in second.stderr.splitlines() if "component=train " in line
    ]
    finished = [line for line in trained if "component_finished" in line]
    assert "is_cached=true" in finished[0]
    assert "is_cached=false" in finished[1]
    assert (tmp_path / told["curves"]).exists()
    assert not (tmp_path / "runs" / "serving").exists()

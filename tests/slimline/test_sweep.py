"""slimline sweep, with a pipeline that only reports."""

import json
import pathlib
import sys
import types

import pytest

import slimline as sl
from pipeline.sweeps import comparison
from pipeline.sweeps.comparison import Row


@pytest.fixture
def sweep_execution(monkeypatch, emit):
    """A sweep whose members are there at once; those in `failing` have a note.

    `act` is called in the midst of each.
    """
    fake = types.ModuleType("pipeline.sweeps.execution")
    fake.calls = []
    fake.failing = set()
    fake.act = lambda: None

    def run(members, *, root, run_folder, origins, use_cache=True):
        fake.calls.append((members, root, run_folder, origins, use_cache))
        rows = []
        for place, (member, config) in enumerate(members.items(), 1):
            fields = {"member": member, "place": place, "members": len(members)}
            emit("member_started", **fields)
            emit("component_started", component="train")
            fake.act()
            net = config.model.net
            row = Row(member, net, 1234, 30, 20, 0.5 + place / 100, 0.9, 1.1, 7.0)
            if member in fake.failing:
                row = Row(member, net, note="failed: loss became NaN")
            rows.append(row)
            emit("member_finished", **fields, detail="eval top-1 0.5")
        comparison.write(run_folder, rows)
        return rows

    fake.run = run
    monkeypatch.setitem(sys.modules, "pipeline.sweeps.execution", fake)
    monkeypatch.setattr("pipeline.sweeps.execution", fake, raising=False)
    return fake


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / "photographs"
    folder.mkdir()
    return str(folder)


def test_all_members_one_table(call, sweep_execution, images):
    code, out, err = call("sweep", "caltech_ablation", "--data", images)
    assert code == 0
    ((members, _, folder, origins, use_cache),) = sweep_execution.calls
    assert next(iter(members)) == "cnn_sigmoid"
    assert len(members) == 8
    assert use_cache
    assert origins["data.path"] == "--data"
    lines = out.strip().splitlines()
    assert lines[0].split()[:3] == ["member", "net", "parameters"]
    assert lines[8].split()[0] == "cnn_all_tricks"
    assert "best on eval: cnn_all_tricks (0.5800)" in out
    assert f"{folder.name}/results.csv" in out
    assert "member=cnn_leaky place=3 members=8" in err
    assert (folder / "config.json").exists()
    assert (folder / "log.txt").exists()


def test_chosen_members_as_json(call, sweep_execution, images):
    code, out, _ = call(
        *("sweep", "caltech_ablation", "--data", images, "--json", "-q"),
        *("--members", "cnn_gap, cnn_bn", "--no-cache", "--set", "train.steps=30"),
    )
    assert code == 0
    told = json.loads(out)
    assert [row["member"] for row in told["rows"]] == ["cnn_bn", "cnn_gap"]
    assert told["best"] == "cnn_gap"
    assert pathlib.Path(told["table"]).name == "results.csv"
    ((members, _, _, _, use_cache),) = sweep_execution.calls
    assert not use_cache
    assert {config.train.steps for config in members.values()} == {30}


def test_a_member_that_failed_ends_with_1_and_says_why(call, sweep_execution, images):
    sweep_execution.failing = {"cnn_bn"}
    code, out, err = call("sweep", "caltech_ablation", "--data", images)
    assert code == 1
    assert "failed: loss became NaN" in out
    assert "best on eval: cnn_all_tricks" in out
    assert "error: 1 of 8 members failed: cnn_bn\n" in err
    assert "log.txt has the stacks" in err

    code, out, err = call("sweep", "caltech_ablation", "--data", images, "-q")
    assert (code, out) == (1, "")
    assert "error: 1 of 8 members failed: cnn_bn\n" in err

    code, out, _ = call("sweep", "caltech_ablation", "--data", images, "--json")
    told = json.loads(out)
    assert code == told["error"]["exit_code"] == 1
    assert told["error"]["kind"] == "train"
    assert told["error"]["found"] == "failed: loss became NaN"
    assert len(told["rows"]) == 8


def test_quiet_success_prints_nothing(call, sweep_execution, images):
    assert call("sweep", "mnist_mlp_bn", "--data", images, "-q") == (0, "", "")


def test_interrupted(call, sweep_execution, images):
    def act():
        raise KeyboardInterrupt

    sweep_execution.act = act
    code, out, err = call("sweep", "mnist_mlp_bn", "--data", images, "-q")
    assert (code, out) == (130, "")
    assert err.lstrip().startswith("interrupted: finished components are kept")


def test_a_dry_run_writes_nothing(call, sweep_execution, images):
    code, out, _ = call("sweep", "mnist_mlp_bn", "--data", images, "--dry-run")
    assert code == 0
    assert "no_batch_norm  mlp_bn  false" in out
    assert sweep_execution.calls == []
    assert not pathlib.Path("runs").exists()


def test_without_a_name_the_sweeps_are_listed(call):
    code, out, _ = call("sweep")
    assert code == 0
    assert "caltech_classics lenet, alexnet" in " ".join(out.split())


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["nothing"], "unknown sweep 'nothing'"),
        (["caltech_ablation", "--members", "cnn_gup"], "did you mean 'cnn_gap'?"),
        (
            ["caltech_ablation", "--set", "model.net=lenet"],
            "set 'model.net' themselves",
        ),
        (["caltech_classics", "--set", "preprocessing.crop_px=40"], "too small"),
        (["caltech_ablation", "--data", "none.zip"], "no data at none.zip"),
    ],
)
def test_mistakes_are_sentences(call, sweep_execution, arguments, sentence):
    code, out, err = call("sweep", *arguments)
    assert code in (2, 4)
    assert out == ""
    assert sentence in err
    assert "Traceback" not in err
    assert sweep_execution.calls == []


def test_from_python(call, sweep_execution, images):
    sweep = sl.sweep("mnist_mlp_bn", data=images, settings={"train.steps": 30})
    assert [row.member for row in sweep.rows] == ["batch_norm", "no_batch_norm"]
    assert (sweep.folder / "results.md").exists()
    assert sweep.table == sweep.folder / "results.csv"
    assert sweep.table.exists()
    with pytest.raises(sl.errors.ConfigError, match="unknown sweep") as info:
        sl.sweep("mnist_mlp")
    assert info.value.tip == "did you mean 'mnist_mlp_bn'?"

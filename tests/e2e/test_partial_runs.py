"""A part of the pipeline, on what an earlier run has left."""

import dataclasses
import json
import pathlib

import pytest

from common.errors import ConfigError
from pipeline import execution
from pipeline.runs import parts, runs
from pipeline.runs.parts import Part
from slimline.cli import main
from trainer.config import as_json, flatten

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def house(shared_house):
    return shared_house


@pytest.fixture(scope="module")
def whole(two_steps):
    """Summary of a run of all components, which pushes its model."""
    return two_steps


@pytest.fixture
def run_part(house):
    def run(part, config, **options):
        values = json.loads(json.dumps(flatten(as_json(config))))
        folder = runs.create(house.root, values, {})
        return execution.run_part(
            config, part, root=house.root, run_folder=folder, origins={}, **options
        )

    return run


@pytest.fixture
def call(house, capfd):
    def run(*arguments):
        code = main.main([*arguments, "--root", str(house.root)])
        captured = capfd.readouterr()
        return code, captured.out, captured.err

    return run


def artifacts_of(summary) -> dict:
    path = pathlib.Path(summary.folder) / runs.SUMMARY_FILE
    return json.loads(path.read_text(encoding="utf-8"))["artifacts"]


def test_from_train_to_push(house, whole, run_part, call) -> None:
    summary = run_part(Part("train", "push"), house.config(steps=3))
    assert summary.steps == 3
    assert summary.pushed_version not in (None, whole.pushed_version)
    assert summary.baseline_version == whole.pushed_version
    assert (summary.part, summary.base) == ("train to push", whole.run)
    before, now = artifacts_of(whole), artifacts_of(summary)
    for component in ("contract", "ingest", "statistics", "check", "transform"):
        assert now[component] == before[component]
        assert summary.seconds[component] == 0.0
    for component in ("train", "evaluate", "infra"):
        assert now[component] != before[component]
    assert summary.images == whole.images
    assert summary.data_fingerprint == whole.data_fingerprint
    words = runs.two_words(pathlib.Path(whole.run))
    code, out, _ = call("why", summary.run)
    assert code == 0
    assert f"  ran train to push; the rest is from {words}\n" in out
    page = (pathlib.Path(summary.folder) / "report.html").read_text(encoding="utf-8")
    assert f"ran train to push; the rest is from {whole.run}" in page
    code, out, _ = call("lineage", summary.run)
    assert code == 0
    for component in ("ingest", "transform", "train", "push"):
        assert component in out


def test_a_gate_anew_trains_nothing(house, whole, run_part) -> None:
    summary = run_part(Part("evaluate"), house.config(min_top_1=0.999, steps=2))
    assert not summary.passed
    assert summary.pushed_version is None
    assert summary.refusals[0].endswith("required 0.9990")
    # Not the newest run, whose model was trained otherwise.
    assert summary.base == whole.run
    assert artifacts_of(summary)["train"] == artifacts_of(whole)["train"]
    assert summary.metrics == pytest.approx(whole.metrics)


def test_a_part_without_a_verdict(house, whole, run_part, call) -> None:
    outcome = run_part(Part(last="transform"), house.config(steps=4))
    assert isinstance(outcome, parts.Outcome)
    assert list(outcome.details) == [
        "contract",
        "ingest",
        "statistics",
        "check",
        "transform",
    ]
    assert outcome.details["ingest"].startswith("300 images (cifar10_binary)")
    assert (outcome.part, outcome.base) == ("contract to transform", "")
    folder = pathlib.Path(outcome.folder)
    assert not (folder / runs.SUMMARY_FILE).exists()
    for command in ("why", "report", "lineage"):
        code, out, err = call(command, outcome.run)
        assert (code, out) == (2, "")
        assert "has no verdict: it ran contract to transform" in err
        assert "tip: slimline run cifar10_resnet_20 goes on" in err
    assert "contract to transform" in call("runs")[1]
    row = json.loads(call("runs", "--json")[1])["runs"][-1]
    assert row["verdict"] == "contract to transform"


def test_settings_that_cannot_take_effect(house, whole, run_part) -> None:
    with pytest.raises(ConfigError) as error:
        run_part(Part("evaluate"), house.config(steps=2, batch_size=8))
    assert error.value.message == (
        "setting 'train.batch_size' cannot take effect: 'train' does not run"
    )
    assert error.value.tip == "--from train"


def test_parts_that_there_are_not(house, whole, run_part) -> None:
    config = house.config(steps=2)
    with pytest.raises(ConfigError, match="nothing leads from 'evaluate' to 'infra'"):
        run_part(Part("evaluate", "infra"), config)
    with pytest.raises(ConfigError, match="has no component 'infer'") as error:
        run_part(Part("infer"), config)
    assert error.value.tip == "--set bulk_inference.splits=[test] adds it"


def test_an_earlier_run_that_lacks_something_is_passed_over(
    house, whole, run_part
) -> None:
    other = house.config(steps=2)
    data = dataclasses.replace(other.data, eval_fraction=0.2)
    other = dataclasses.replace(other, data=data)
    run_part(Part(last="ingest"), other)
    # The newest run has no model; the one before it has.
    summary = run_part(Part("evaluate"), house.config(steps=2))
    assert summary.base not in (None, "")
    assert summary.images == whole.images


def test_without_an_earlier_run(make_house) -> None:
    house = make_house()
    folder = runs.create(house.root, {}, {})
    with pytest.raises(ConfigError, match="no earlier run has all that") as error:
        execution.run_part(
            house.config(steps=2),
            Part("train"),
            root=house.root,
            run_folder=folder,
            origins={},
        )
    assert error.value.found.startswith("no run of this experiment in ")
    assert "without --from" in error.value.tip

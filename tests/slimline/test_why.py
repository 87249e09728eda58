"""`slimline why` and `slimline runs`: what became of runs."""

import dataclasses
import json
import pathlib
import random

import pytest

import slimline as sl
from pipeline.runs import runs

REFUSED_RULE = {
    "name": "min_class_recall",
    "sentence": "class cat 0.6200, required of each 0.7000",
    "is_kept": False,
    "figure": 0.62,
    "limit": 0.7,
    "baseline": None,
}


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return pathlib.Path("runs")


@pytest.fixture
def make_run(root, make_summary):
    """Function (**changes of the summary) -> folder; summary None leaves it unfinished."""

    def make(is_finished=True, **changes):
        folder = runs.create(
            root, {}, {}, words=random.Random(len(list(root.glob("*"))))
        )
        if is_finished:
            record = dataclasses.asdict(make_summary(folder, **changes))
            (folder / runs.SUMMARY_FILE).write_text(json.dumps(record))
        return folder

    return make


def test_why_passed(call, make_run):
    words = runs.two_words(make_run())
    assert call("why") == (
        0,
        f"{words} (digits_resnet_20) passed\n"
        "  ✓ top-1 0.9812 ≥ 0.9500 required\n"
        "  ✓ loaded in 1.2 s\n"
        "  ✓ the 10 labels are those of the contract\n"
        "  ✓ p99 latency 3.2 ms\n"
        "version 17 was pushed\n",
        "",
    )


def test_why_refused(call, make_run):
    folder = make_run(
        passed=False, pushed_version=None, rules=[REFUSED_RULE], infra_rules=[]
    )
    words = runs.two_words(folder)
    make_run()
    _, out, _ = call("why", words)
    assert out == (
        f"{words} (digits_resnet_20) was refused by the gate\n"
        "  ✗ class cat 0.6200, required of each 0.7000\n"
        "nothing was pushed, version 6 stayed live\n"
    )
    document = json.loads(call("why", words, "--json")[1])
    assert document["rules"] == [REFUSED_RULE]
    assert document["passed"] is False
    assert call("why", words, "-q") == (0, "", "")


def test_why_refused_as_served(call, make_run):
    sentence = "asset labels.txt is missing"
    rule = {"name": "labels", "sentence": sentence, "is_kept": False}
    folder = make_run(
        passed=False,
        pushed_version=None,
        infra_rules=[rule],
        infra_refusals=[sentence],
    )
    _, out, _ = call("why")
    assert out == (
        f"{runs.two_words(folder)} (digits_resnet_20) failed the check of the served"
        " model\n"
        "  ✓ top-1 0.9812 ≥ 0.9500 required\n"
        "  ✗ asset labels.txt is missing\n"
        "nothing was pushed, version 6 stayed live\n"
    )
    assert json.loads(call("why", "--json")[1])["infra_rules"] == [rule]


def test_why_of_what_is_not_there(call, root, make_run):
    code, _, err = call("why")
    assert code == 2
    assert err.startswith("error: no runs in runs\n")
    folder = make_run(is_finished=False)
    code, _, err = call("why")
    assert code == 2
    assert f"run '{folder.name}' has no summary: it failed or was interrupted" in err
    code, _, err = call("why", "nobody")
    assert code == 2
    assert "no run 'nobody' in runs" in err


def test_why_of_a_member_of_a_sweep(call, make_run, make_summary):
    sweep = make_run(is_finished=False)
    member = sweep / runs.MEMBERS_FOLDER / "bn_on"
    member.mkdir(parents=True)
    record = dataclasses.asdict(make_summary(member))
    (member / runs.SUMMARY_FILE).write_text(json.dumps(record))
    words = runs.two_words(sweep)
    assert call("why", f"{words}/bn_on")[1].startswith(
        "bn_on (digits_resnet_20) passed"
    )
    code, _, err = call("why", f"{words}/bn_of")
    assert code == 2
    assert f"run '{sweep.name}' has no member 'bn_of'" in err
    assert "found: bn_on" in err
    _, _, err = call("why", words)
    assert f"tip: a member is named {words}/MEMBER" in err


def test_runs(call, root, make_run):
    assert call("runs")[1] == "no runs in runs: slimline run makes one\n"
    passed = make_run(total_seconds=95.0)
    refused = make_run(passed=False, pushed_version=None)
    broken = make_run(is_finished=False)
    _, out, _ = call("runs")
    lines = out.splitlines()
    assert lines[0].split() == (
        [
            "run",
            "experiment",
            "verdict",
            "test",
            "top-1",
            "eval",
            "top-1",
            "time",
            "version",
        ]
    )
    by_run = {line.split()[0]: line for line in lines[1:]}
    assert by_run[passed.name].split()[1:] == (
        ["digits_resnet_20", "passed", "0.9812", "0.9850", "1:35", "17"]
    )
    assert by_run[refused.name].split()[1:] == (
        ["digits_resnet_20", "refused", "0.9812", "0.9850", "1:35"]
    )
    assert by_run[broken.name].split()[1:] == ["not", "finished"]
    rows = json.loads(call("runs", "--json")[1])["runs"]
    assert [row["run"] for row in rows] == [passed.name, refused.name, broken.name]


def test_why_tells_an_open_gate_and_warnings_of_the_training(call, make_run):
    warning = "train has 12 images, fewer than a batch of 64: trained with batches of 3"
    make_run(is_gate_open=True, findings=[warning])
    _, out, _ = call("why")
    assert f"  ! {warning}\n" in out
    assert "  gate open: no threshold is set, so any accuracy passes\n" in out
    assert json.loads(call("why", "--json")[1])["findings"] == [warning]


def test_from_python(make_run, make_summary):
    passed = make_run()
    refused = make_run(
        passed=False,
        pushed_version=None,
        rules=[REFUSED_RULE],
        infra_rules=[],
        refusals=[REFUSED_RULE["sentence"]],
    )
    verdict = sl.why()
    assert not verdict.passed and verdict.rules == [REFUSED_RULE]
    assert repr(verdict).splitlines() == [
        f"{runs.two_words(refused)} (digits_resnet_20) was refused by the gate",
        "  ✗ class cat 0.6200, required of each 0.7000",
        "nothing was pushed, version 6 stayed live",
    ]
    assert sl.why(passed) == sl.why(sl.Run(make_summary(passed))) == sl.why(passed.name)
    assert sl.why(passed).passed

    table = sl.runs()
    assert list(table.index) == [passed.name, refused.name]
    assert list(table.verdict) == ["passed", "refused"]
    assert table.test_top_1[passed.name] == 0.9812
    assert sl.runs("nothing").empty


def test_a_run_is_short_in_python(make_run, make_summary):
    folder = make_run()
    run = sl.Run(make_summary(folder))
    assert repr(run) == (
        f"<Run {folder.name} of digits_resnet_20: passed, top-1 0.9812>"
    )
    # What the card is made of is gone: the figures are not.
    assert run._repr_html_() is None

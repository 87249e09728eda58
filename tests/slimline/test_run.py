import json
import logging
import os
import pathlib
import re
import signal
import sys

import pytest

import slimline as sl
from common.errors import ConfigError, DataError, GateError, TrainError
from components.model_pusher import publishing
from slimline.cli import main
from slimline.terminal import closing

PLAIN = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ event=[a-z_]+( [a-z_0-9]+=\S.*)?")
RUN = pathlib.Path("runs/2026-11-22_0201_quick-heron")


def rule(name, figure, is_kept=False):
    return {
        "name": name,
        "sentence": f"{name} it is",
        "is_kept": is_kept,
        "figure": figure,
    }


REFUSED = {
    "passed": False,
    "rules": [rule("min_top_1", 0.8123)],
    "metrics": {"top_1": 0.8123},
    "verdict": ["top-1 0.8123, required 0.9500", "no earlier model to compare with"],
    "refusals": ["top-1 0.8123, required 0.9500"],
    "pushed_version": None,
    "pushed_path": None,
}


def run_folder():
    (folder,) = pathlib.Path("runs").glob("20*")
    return folder


def raising(error):
    def act():
        raise error

    return act


def test_a_run_without_a_terminal(call, execution, components):
    code, out, err = call("run", "--set", "train.epochs=30")
    assert code == 0
    lines = err.splitlines()
    assert all(PLAIN.fullmatch(line) for line in lines), err
    assert len(lines) + len(out.splitlines()) < 120
    assert "\r" not in err + out
    assert "\x1b" not in err + out
    assert 'event=setting_changed setting="train.epochs 40 -> 30"' in err
    for component in components:
        finished = (
            rf"event=component_finished component={component} .*about {component}"
        )
        assert re.search(finished, err)
    assert err.count("event=train ") == 10
    words = run_folder().name.partition("_")[2].partition("_")[2]
    assert f"{words} passed in 1:35" in out
    assert "1,797 images, 10 classes, 2 unreadable: 1,347 train" in out
    assert "slimline predict runs/" in out


@pytest.fixture
def flowers(tmp_path):
    """Names of images in class folders, as far as a look before a run goes."""
    for name in ("rose", "tulip"):
        folder = tmp_path / "flowers" / name
        folder.mkdir(parents=True)
        (folder / "1.jpg").touch()
    return "flowers"


def test_the_pipeline_gets_what_was_asked(call, execution, flowers):
    call("run", "folder", "--data", flowers, "--root", "here", "--tiny", "--no-cache")
    ((config, root, folder, origins, use_cache),) = execution.calls
    assert config.name == "folder"
    assert config.data.path == flowers
    assert config.train.steps == 2
    assert root == pathlib.Path("here")
    assert folder.parent == root
    assert origins["data.path"] == "--data"
    assert not use_cache
    record = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    assert record["settings"]["data.path"] == {"value": flowers, "origin": "--data"}


def test_root_comes_from_the_environment(call, execution, monkeypatch):
    monkeypatch.setenv("SLIMLINE_ROOT", "elsewhere")
    call("run")
    assert list(pathlib.Path("elsewhere").glob("20*"))


def test_quiet_prints_nothing_on_success(call, execution):
    assert call("run", "-q") == (0, "", "")


def test_json_is_one_object_on_stdout(call, execution):
    code, out, _ = call("run", "--json", "-q")
    document = json.loads(out)
    assert code == 0
    assert document["schema_version"] == 1
    assert document["summary"]["metrics"]["top_1"] == 0.9812
    assert out.count("\n") == 1


def test_a_cached_run_says_so(call, execution):
    execution.changes = {"is_cached": True}
    _, out, _ = call("run")
    assert "nothing changed: served from the cache" in out


def test_refused_by_the_gate(call, execution):
    execution.changes = REFUSED
    code, out, err = call("run", "-q")
    assert (code, out) == (3, "")
    assert err == (
        "error: gate refused the model: top-1 0.8123, required 0.9500"
        " (nothing was pushed, version 6 stays live)\n"
        "  tip: to lower the bar on purpose: --set evaluation.min_top_1=0.81\n"
    )
    code, out, err = call("run")
    assert code == 3
    assert "was refused by the gate" in out
    assert "error: gate refused the model" in err


def test_refused_for_a_drop_names_the_drop(call, execution):
    execution.changes = REFUSED | {"rules": [rule("max_top_1_drop", -0.0212)]}
    _, _, err = call("run", "-q")
    assert "--set evaluation.max_top_1_drop=0.022" in err


@pytest.mark.parametrize(
    ("name", "figure", "setting"),
    [
        ("needs_real_gain", -0.002, "evaluation.needs_real_gain=false"),
        ("min_class_recall", 0.628, "evaluation.min_class_recall=0.62"),
    ],
)
def test_refused_by_another_rule_names_its_setting(
    call, execution, name, figure, setting
):
    execution.changes = REFUSED | {
        "rules": [rule("min_top_1", 0.9, is_kept=True), rule(name, figure)]
    }
    _, _, err = call("run", "-q")
    assert f"  tip: to lower the bar on purpose: --set {setting}\n" in err


def test_the_end_tells_the_weakest_class_and_how_sure_the_figures_are(call, execution):
    _, out, _ = call("run")
    assert (
        "test      top-1 0.9812 ± 0.0175 · cross-entropy 0.0512 ± 0.0250"
        " · calibration error 0.0213 · 270 images\n" in out
    )
    assert (
        "weakest   3 0.9259 of its images right · most confused 3 → 8, 2 images\n"
        in out
    )


def test_refused_with_json_is_still_one_object(call, execution):
    execution.changes = REFUSED
    code, out, err = call("run", "--json")
    document = json.loads(out)
    assert code == document["error"]["exit_code"] == 3
    assert document["error"]["kind"] == "gate"
    assert not document["summary"]["passed"]
    assert "error: gate refused the model" in err


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigError("no such thing", tip="try that"), 2),
        (GateError("no such thing", tip="try that"), 3),
        (DataError("no such thing", tip="try that"), 4),
        (TrainError("no such thing", tip="try that"), 1),
    ],
)
def test_what_a_user_can_mend_is_a_sentence(call, execution, error, code):
    execution.act = raising(error)
    found, out, err = call("run", "-q")
    assert (found, out) == (code, "")
    assert err == "error: no such thing\n  tip: try that\n"
    log = (run_folder() / "log.txt").read_text(encoding="utf-8")
    assert "Traceback" in log
    assert json.loads(call("run", "--json")[1])["error"]["exit_code"] == code


def test_a_wrapped_data_error_is_still_one(call, execution):
    def act():
        try:
            raise DataError("image 3 is gone")
        except DataError as error:
            raise RuntimeError("[while running 'Read']") from error

    execution.act = act
    code, _, err = call("run", "-q")
    assert code == 4
    assert err == "error: image 3 is gone\n"


def test_an_unexpected_error_shows_the_end_of_the_log(call, execution):
    def act():
        os.write(2, b"".join(b"native line %d\n" % number for number in range(40)))
        raise OSError("disk on fire")

    execution.act = act
    code, out, err = call("run", "-q")
    assert (code, out) == (1, "")
    lines = err.splitlines()
    assert lines[0] == "error: run failed in train: OSError: disk on fire"
    assert lines[-1] == "  | native line 39"
    assert 3 < len(lines) <= 18
    assert "Traceback" not in err
    log = (run_folder() / "log.txt").read_text(encoding="utf-8")
    assert "native line 0\n" in log
    assert "OSError: disk on fire" in log
    assert "Traceback" in call("run", "--debug")[2]


def test_native_output_goes_to_the_log_alone(call, execution):
    def act():
        os.write(1, b"to one\n")
        os.write(2, b"to two\n")
        logging.getLogger("somewhere").warning("by logging")

    execution.act = act
    _, out, err = call("run")
    log = (run_folder() / "log.txt").read_text(encoding="utf-8")
    for text in ("to one", "to two", "by logging", "component_finished component=push"):
        assert text in log
        assert text not in out
    assert "to two" not in err
    # The descriptors are back.
    os.write(1, b"after")


def test_libraries_do_not_see_the_command_line(call, execution, monkeypatch):
    seen = []
    execution.act = lambda: seen.append(list(sys.argv))
    monkeypatch.setattr(sys, "argv", ["slimline", "run", "-v"])
    call("run", "-v")
    assert seen == [["slimline"]]
    assert sys.argv == ["slimline", "run", "-v"]


def test_verbose_sends_the_log_to_stderr_as_well(call, execution):
    execution.act = lambda: os.write(2, b"from a library\n")
    _, out, err = call("run", "-v")
    assert "from a library\n" in err
    assert "from a library" not in out


def test_descriptors_are_restored_after_an_error(call, execution, capfd):
    execution.act = raising(OSError("x"))
    call("run")
    os.write(2, b"still here")
    assert capfd.readouterr().err == "still here"


def test_interrupted(call, execution):
    execution.act = raising(KeyboardInterrupt())
    code, out, err = call("run", "-q")
    assert (code, out) == (130, "")
    assert err.lstrip().startswith("interrupted: finished components are kept")


def test_terminated(call, execution):
    """SIGTERM, as Kubernetes, Slurm and Airflow send it; a second one changes nothing."""

    def act(*values, **named):
        try:
            signal.raise_signal(signal.SIGTERM)
        finally:
            signal.raise_signal(signal.SIGTERM)

    before = signal.getsignal(signal.SIGTERM)
    execution.act = act
    code, out, err = call("run", "-q")
    assert (code, out) == (143, "")
    assert err.lstrip().startswith("terminated: finished components are kept")
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["folder", "--data", "none"], 4, "error: no data at none\n"),
        (["none/"], 4, "error: no data at none/\n"),
        (["none.tar.gz"], 4, "error: no data at none.tar.gz\n"),
        (["photos"], 2, "error: experiment 'photos' needs images\n"),
        (["foldr"], 2, "error: unknown experiment 'foldr'\n"),
        (["--set", "model.net=resnet_21"], 2, "error: unknown net 'resnet_21'\n"),
    ],
)
def test_common_mistakes_leave_no_run_behind(call, execution, arguments, code, message):
    found, _, err = call("run", *arguments)
    assert found == code
    assert err.startswith(message)
    assert not pathlib.Path("runs").exists()


def test_dry_run_writes_nothing(call, execution):
    code, out, err = call("run", "--dry-run", "--set", "train.epochs=3")
    assert (code, err) == (0, "")
    assert re.search(r"changed +train\.epochs 40 -> 3\n", out)
    assert not execution.calls
    assert not list(pathlib.Path().iterdir())
    document = json.loads(call("run", "--dry-run", "--json")[1])
    assert document["net"] == "resnet_20"
    assert call("run", "--dry-run", "-q") == (0, "", "")


def test_classes_are_accepted_for_one_run(call):
    _, out, _ = call("run", "--print-config", "--accept-classes")
    rows = [line.split() for line in out.splitlines()]
    assert ["evaluation.class_changes", "allow", "--accept-classes"] in rows


def test_print_config_tells_values_and_origins(call):
    _, out, _ = call("run", "--print-config", "--set", "train.epochs=3")
    assert re.search(r"^train\.epochs +3 +--set$", out, re.MULTILINE)
    assert re.search(r"^train\.batch_size +64 +experiment$", out, re.MULTILINE)
    document = json.loads(call("run", "--print-config", "--json")[1])
    assert document["settings"]["train.patience"] == {"value": 0, "origin": "default"}
    assert call("run", "--print-config", "-q") == (0, "", "")


def test_from_python(execution, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    execution.changes = REFUSED
    run = sl.run("digits_resnet_20", settings={"train.epochs": 3}, root="here")
    assert not run.passed
    assert run.metrics["top_1"] == 0.8123
    assert run.folder.parent == pathlib.Path("here")
    assert run.summary.refusals == ["top-1 0.8123, required 0.9500"]
    assert execution.calls[0][0].train.epochs == 3
    assert (run.folder / "log.txt").is_file()
    with pytest.raises(sl.errors.ConfigError, match="unknown setting"):
        sl.run("digits_resnet_20", settings={"train.epoch": 3})
    with pytest.raises(sl.errors.DataError, match="no data at"):
        sl.run("folder", data=tmp_path / "none")


def test_from_python_errors_are_the_ones_raised(execution, tmp_path):
    execution.act = raising(OSError("disk on fire"))
    with pytest.raises(OSError, match="disk on fire"):
        sl.run("digits_resnet_20", root=tmp_path)


def test_handlers_are_taken_away_again(call, execution):
    loggers = [logging.getLogger(name) for name in (None, "slimline", main.__name__)]
    loggers.append(logging.getLogger("slimline.progress"))
    before = [(list(logger.handlers), logger.level) for logger in loggers]
    call("run")
    assert [(list(logger.handlers), logger.level) for logger in loggers] == before


def write_versions(*numbers):
    for number in numbers:
        folder = pathlib.Path("runs/serving/digits") / str(number)
        folder.mkdir(parents=True)
        (folder / "saved_model.pb").touch()


def test_a_push_over_an_earlier_version_says_how_to_undo_it(call, execution):
    execution.act = lambda: write_versions(6, 17)
    _, out, _ = call("run")
    assert (
        "push      version 17 is live in runs/serving/digits/17 · version 6 kept for"
        " rollback\n" in out
    )
    assert out.endswith(
        "  undo    slimline models rollback digits   (back to version 6)\n"
    )


def test_a_first_push_has_nothing_to_undo(call, execution):
    execution.act = lambda: write_versions(17)
    _, out, _ = call("run", "--root", "runs")
    assert "push      version 17 is live in runs/serving/digits/17\n" in out
    assert "undo" not in out


def test_a_cached_push_that_was_rolled_back_is_not_called_live(call, execution):
    def act():
        write_versions(6, 17)
        sl.models("digits").rollback()

    execution.act = act
    _, out, _ = call("run")
    assert "push      version 17 was pushed before, version 6 is live\n" in out
    assert "undo" not in out


def test_summary_counts_images_of_each_class(make_summary) -> None:
    counts = {
        "train": {"cat": 8, "dog": 80},
        "eval": {"cat": 1, "dog": 10},
        "test": {"dog": 10},
    }
    few = closing.describe(
        make_summary(RUN, images_per_class=counts), pathlib.Path("runs")
    )
    assert "classes   train/eval/test: cat 8/1/0 · dog 80/10/10" in few
    many = {split: {f"c{n:02}": n + 1 for n in range(20)} for split in counts}
    told = closing.describe(
        make_summary(RUN, images_per_class=many), pathlib.Path("runs")
    )
    assert "from 1/1/1 of c00 to 20/20/20 of c19" in told


def test_summary_says_on_what_other_classes_were_compared(make_summary) -> None:
    changed = {"shared": ["3", "7"], "added": ["auk"], "removed": [], "images": 54}
    told = closing.describe(make_summary(RUN, classes=changed), pathlib.Path("runs"))
    assert (
        "baseline  version 6: top-1 0.9800 · cross-entropy 0.0600 on 54 images of shared"
        " classes (new, without a baseline: auk)\n"
    ) in told
    nothing = make_summary(
        RUN, classes=changed | {"shared": [], "images": 0}, baseline_metrics=None
    )
    told = closing.describe(nothing, pathlib.Path("runs"))
    assert "baseline  version 6: not compared\n" in told


def test_summary_names_the_quarantine(make_summary) -> None:
    summary = make_summary(RUN, unreadable=2, quarantine="q/quarantine.jsonl")
    assert "unread  q/quarantine.jsonl" in closing.describe(
        summary, pathlib.Path("runs")
    )


START = {
    "name": "mine",
    "source": "mine.h5",
    "licence": "MIT",
    "sha256": "0123456789abcdef" * 4,
}


def test_summary_of_a_class_layer_alone(make_summary) -> None:
    crossed = {"top_1": 0.95, "low": 0.7512, "high": 0.9989, "images": 20, "folds": 5}
    summary = make_summary(
        RUN,
        steps=0,
        best_step=0,
        weights="raw",
        head_top_1=0.985,
        start=START,
        cross_validation=crossed,
    )
    lines = closing.describe(summary, pathlib.Path("runs")).splitlines()
    assert "weights   mine (mine.h5, licence MIT, SHA-256 0123456789ab…)" in lines
    assert (
        "training  class layer only, on features of the frozen net: eval top-1 0.9850"
        in lines
    )
    assert (
        "validated top-1 0.9500 [0.751, 0.999] by 5-fold cross-validation on 20 images of"
        " train and eval" in lines
    )


def test_summary_of_fine_tuning_has_both_figures(make_summary) -> None:
    summary = make_summary(RUN, head_top_1=0.97, start=START)
    told = closing.describe(summary, pathlib.Path("runs"))
    assert (
        "training  840 steps, best at 800: eval top-1 0.9850 (EMA weights);"
        " class layer alone 0.9700\n"
    ) in told
    assert "validated" not in told


def test_summary_of_a_net_from_nothing_has_neither(make_summary) -> None:
    told = closing.describe(make_summary(RUN), pathlib.Path("runs"))
    assert "eval top-1 0.9850 (EMA weights)\n" in told
    assert "\nweights" not in told


INFRA_REFUSED = {
    "passed": False,
    "infra_rules": [
        {
            "name": "max_latency_ms",
            "sentence": "p99 latency 52.3 ms, at most 20 ms allowed",
            "is_kept": False,
            "figure": 52.34,
            "limit": 20.0,
        }
    ],
    "infra_refusals": ["p99 latency 52.3 ms, at most 20 ms allowed"],
    "pushed_version": None,
    "pushed_path": None,
}


def test_a_served_model_that_fails_its_check(call, execution):
    execution.changes = INFRA_REFUSED
    code, out, err = call("run")
    assert code == 5
    assert "infra     refused: p99 latency 52.3 ms, at most 20 ms allowed\n" in out
    assert "gate      passed: top-1 0.9812 ≥ 0.9500 required" in out
    assert " failed the check of the served model in " in out
    assert err.endswith(
        "error: the served model failed its check: p99 latency 52.3 ms, at most 20 ms"
        " allowed (nothing was pushed, version 6 stays live)\n"
        "  tip: to let it through on purpose: --set infra.max_latency_ms=52.4\n"
    )
    document = json.loads(call("run", "--json")[1])
    assert document["error"]["kind"] == "infra"
    assert document["error"]["exit_code"] == 5


def test_no_limit_lets_through_what_answers_wrongly(call, execution):
    wrong = {"name": "labels", "sentence": "no labels", "is_kept": False}
    execution.changes = INFRA_REFUSED | {
        "infra_rules": [wrong, *INFRA_REFUSED["infra_rules"]],
        "infra_refusals": ["no labels", *INFRA_REFUSED["infra_refusals"]],
    }
    code, _, err = call("run", "-q")
    assert code == 5
    assert "failed its check: no labels; p99 latency" in err
    assert "tip:" not in err


def test_the_gate_goes_before_the_check(call, execution):
    execution.changes = INFRA_REFUSED | REFUSED
    code, out, err = call("run")
    assert code == 3
    assert "was refused by the gate" in out
    assert "infra     refused: p99 latency 52.3 ms" in out
    assert "error: gate refused the model" in err


def test_the_check_is_told_with_its_figures(call, execution):
    _, out, _ = call("run")
    assert "infra     passed: loaded in 1.2 s; p99 latency 3.2 ms\n" in out
    execution.changes = {"infra_rules": []}
    assert "infra  " not in call("run")[1]


OPEN_GATE = (
    *("--set", "evaluation.min_top_1=0"),
    *("--set", "evaluation.max_top_1_drop=1"),
    *("--set", "evaluation.beats_guessing=false"),
)


def push_digits():
    model = pathlib.Path("model")
    model.mkdir()
    (model / "saved_model.pb").touch()
    return publishing.publish(model, pathlib.Path("runs/serving/digits"))


def test_an_open_gate_is_refused_before_a_run_where_a_good_model_is_live(
    call, execution
):
    version = push_digits()
    code, _, err = call("run", *OPEN_GATE)
    assert code == 2
    assert err.startswith(
        f"error: the gate is open, and version {version} of 'digits' had to pass"
    )
    assert "--force-push REASON" in err
    assert not list(pathlib.Path("runs").glob("20*"))
    # It pushes nothing, has a model of its own, or a reason.
    assert call("run", *OPEN_GATE, "--to", "evaluate", "--dry-run")[0] == 0
    assert call("run", "--tiny", "-q")[0] == 0
    assert call("run", *OPEN_GATE, "--force-push", " ")[0] == 2
    assert (
        call("run", *OPEN_GATE, "--force-push", "the old one is broken", "-q")[0] == 0
    )
    config = execution.calls[-1][0]
    assert config.serving.force_push == "the old one is broken"


def test_an_open_gate_is_told(call, execution):
    execution.changes = {"is_gate_open": True}
    _, out, _ = call("run")
    assert (
        "gate      open: no threshold is set, so any accuracy passes; passed: " in out
    )


@pytest.mark.parametrize(
    "words", [["--data", "flowers"], ["flowers"], ["flowers/"], ["./flowers"]]
)
def test_own_images_are_taken_for_photos_and_it_is_said(
    call, execution, flowers, words
):
    code, _, err = call("run", *words)
    assert code == 0, err
    assert err.startswith("experiment photos, for images of your own;")
    config = execution.calls[-1][0]
    assert (config.name, config.data.path) == ("photos", words[-1])


def test_a_known_set_is_asked_about(call, execution):
    folder = pathlib.Path("cifar-10-batches-bin")
    folder.mkdir()
    for name in [
        *(f"data_batch_{number}.bin" for number in range(1, 6)),
        "test_batch.bin",
    ]:
        (folder / name).touch()
    code, _, err = call("run", folder)
    assert code == 2
    assert err.startswith(
        f"error: which experiment? {folder} holds CIFAR-10 by its layout"
    )
    assert f"slimline run cifar10_resnet_20 --data {folder}" in err
    assert call("run", "photos", "--data", folder, "-q")[0] == 0
    assert not pathlib.Path("schema").exists()


def test_data_without_images_leave_no_run_behind(call, execution):
    pathlib.Path("empty").mkdir()
    code, _, err = call("run", "empty")
    assert (code, err) == (4, err)
    assert "empty is empty" in err
    assert not pathlib.Path("runs").exists()


def test_a_run_refused_before_its_first_component_leaves_nothing(call, execution):
    execution.resolve = raising(DataError("one class only"))
    assert call("run", "-q")[0] == 4
    assert not list(pathlib.Path("runs").glob("20*"))


def test_the_end_tells_warnings_and_what_one_answer_for_all_would_reach(make_summary):
    summary = make_summary(
        RUN,
        findings=["the averages lag"],
        per_class={
            "cat": {"recall": 1.0, "support": 35},
            "dog": {"recall": 0.5, "support": 5},
        },
    )
    text = closing.describe(summary, RUN.parent)
    assert "warning   the averages lag\n" in text
    assert " · always 'cat' 0.8750\n" in text


def test_summary_has_the_figure_without_views(make_summary) -> None:
    views = {
        "views": "mirror_shift",
        "metrics": {"top_1": 0.93},
        "differences": {"top_1": {"difference": 0.01, "low": 0.005, "high": 0.015}},
    }
    told = closing.describe(
        make_summary(RUN, test_time_views=views), pathlib.Path("runs")
    )
    assert (
        "\nviews     top-1 0.9300 without its test-time views (mirror_shift), +0.0100 with"
        " them (95 % interval +0.0050 to +0.0150)\n"
    ) in told
    assert "\nviews " not in closing.describe(make_summary(RUN), pathlib.Path("runs"))

"""slimline control, against a training that looks for instructions."""

import threading

import pytest

from pipeline.runs import runs
from slimline.cli import control as command_module
from trainer import control
from trainer.control import Control
from trainer.rates import RateState


@pytest.fixture
def run_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return runs.create(tmp_path / "runs", {}, {})


@pytest.fixture
def training(run_folder, tmp_path):
    """A training at step 7 that looks every few milliseconds."""
    folder = tmp_path / "unfinished"
    folder.mkdir()
    (run_folder / runs.TRAINING_FOLDER_FILE).write_text(str(folder))
    steered = Control(folder, RateState())
    is_over = threading.Event()

    def look():
        while not is_over.wait(0.005):
            steered.poll(7)

    thread = threading.Thread(target=look)
    thread.start()
    yield steered
    is_over.set()
    thread.join()


def test_a_running_training_takes_the_rate(call, training):
    code, out, err = call("control", "--rate", "0.01", "--save")
    assert (code, out, err) == (0, "done: rate 0.01, save True\n", "")
    assert training.state.fixed == 0.01
    assert training.wants_save
    assert call("control", "latest", "--release", "-q") == (0, "", "")
    assert training.state.fixed is None


def test_a_step_to_come_is_waited_for(call, training, monkeypatch):
    monkeypatch.setattr(command_module, "REFUSAL_SECONDS", 0.2)
    code, out, _ = call("control", "--stop", "--at-step", "9")
    assert (code, out) == (0, "waits for step 9: stop True\n")
    assert len(control.waiting(training.folder)) == 1
    assert not training.wants_stop


def test_a_step_that_is_over_is_refused_with_the_reason(call, training):
    code, out, err = call("control", "--rate-factor", "0.5", "--at-step", "0")
    assert (code, out) == (2, "")
    assert "the training refuses: step 0 is over: the training is at step 7" in err
    assert training.state.factor == 1.0


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "give --rate, --rate-factor, --release, --save or --stop"),
        (["--rate", "-1"], "setting 'rate' does not fit"),
        (["--rate", "0"], "setting 'rate' does not fit"),
        (["--rate", "inf"], "setting 'rate' does not fit"),
        (["nobody", "--save"], "no run"),
    ],
)
def test_mistakes_are_sentences(call, training, arguments, sentence):
    code, out, err = call("control", *arguments)
    assert (code, out) == (2, "")
    assert sentence in err
    assert "Traceback" not in err


def test_a_run_that_does_not_train(call, run_folder, tmp_path, monkeypatch):
    code, _, err = call("control", "--save")
    assert code == 2
    assert "has not begun to train" in err
    note = run_folder / runs.TRAINING_FOLDER_FILE
    note.write_text(str(tmp_path / "gone"))
    assert "is over" in call("control", "--save")[2]
    monkeypatch.setattr(command_module, "WAIT_SECONDS", 0.2)
    note.write_text(str(tmp_path))
    code, _, err = call("control", "--save")
    assert code == 2
    assert "no training reads" in err
    assert control.waiting(tmp_path) == []

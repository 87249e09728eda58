"""Instructions in small files, taken by a training or refused with a reason."""

import logging

import pytest

from common.errors import ConfigError
from trainer import control, history
from trainer.control import Control, Instruction
from trainer.rates import RateState


@pytest.fixture
def steered(tmp_path):
    return Control(tmp_path, RateState())


def drop(steered, text, name="by_hand.yaml"):
    folder = steered.folder / control.FOLDER
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(text)
    return path


def done(steered):
    return [
        (int(row["step"]), row["action"], row["value"])
        for row in history.actions(steered.folder).rows()
    ]


def test_a_rate_stays_until_it_is_released(steered):
    control.write(steered.folder, Instruction(rate=0.01))
    steered.poll(7)
    assert steered.state.fixed == 0.01
    steered.poll(8)
    assert steered.state.fixed == 0.01
    control.write(steered.folder, Instruction(rate_factor=0.5))
    steered.poll(9)
    assert steered.state.fixed == 0.005
    control.write(steered.folder, Instruction(release=True))
    steered.poll(10)
    assert steered.state == RateState()
    assert done(steered) == [
        (7, "rate", "0.01"),
        (9, "rate_factor", "0.5"),
        (10, "release", "True"),
    ]
    assert control.waiting(steered.folder) == []


def test_a_factor_acts_on_the_schedule(steered):
    for _ in range(2):
        control.write(steered.folder, Instruction(rate_factor=0.5))
    steered.poll(0)
    assert steered.state == RateState(factor=0.25)


def test_an_instruction_waits_for_its_step(steered):
    control.write(steered.folder, Instruction(save=True, stop=True, at_step=5))
    for step in range(5):
        steered.poll(step)
        assert not steered.wants_save
    assert len(control.waiting(steered.folder)) == 1
    steered.poll(5)
    assert steered.wants_save
    assert steered.wants_stop
    assert control.waiting(steered.folder) == []


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("rate: fast", "setting 'rate' does not fit"),
        ("rate: -1", "setting 'rate' does not fit"),
        ("rate: .inf", "setting 'rate' does not fit"),
        ("rate: true", "setting 'rate' does not fit"),
        ("rates: 0.1", "unknown setting 'rates'"),
        ("rate: [", "not readable as YAML"),
        ("!!python/object/apply:os.system ['true']", "not readable as YAML"),
        ("just text", "no 'key: value' lines"),
        ("1: 2", "no 'key: value' lines"),
        ("at_step: 9", "asks for nothing"),
        ("", "no 'key: value' lines"),
        ("rate: 0.1 #" + "x" * 5000, "more than 4096 bytes"),
        ("rate: 0.1\nat_step: 2", "step 2 is over"),
    ],
)
def test_bad_content_is_reported_and_passed_over(steered, caplog, text, reason):
    path = drop(steered, text)
    with caplog.at_level(logging.WARNING, "slimline.train"):
        steered.poll(3)
    assert reason in caplog.text
    assert reason in control.refusal(path)
    assert not path.exists()
    assert (path.parent / control.REFUSED / path.name).exists()
    assert steered.state == RateState()
    assert done(steered) == []


def test_one_bad_file_does_not_hold_up_the_others(steered):
    drop(steered, "nonsense", "1.yaml")
    drop(steered, "rate: 0.2", "2.yaml")
    drop(steered, "rate: 0.3", ".hidden.yaml")
    drop(steered, "rate: 0.4", "note.txt")
    steered.poll(0)
    assert steered.state.fixed == 0.2


def test_what_was_done_after_the_checkpoint_is_done_again(tmp_path):
    before = Control(tmp_path, RateState())
    for step, instruction in (
        (3, Instruction(rate=0.1)),
        (6, Instruction(rate_factor=0.5)),
        (8, Instruction(save=True)),
    ):
        control.write(tmp_path, instruction)
        before.poll(step)
    # Killed; the newest checkpoint is that of step 5.
    after = Control(tmp_path, RateState(fixed=0.1))
    after.resume(5)
    assert done(after) == [(3, "rate", "0.1")]
    after.poll(5)
    assert after.state.fixed == 0.1
    after.poll(6)
    assert after.state.fixed == 0.05
    after.poll(8)
    assert not after.wants_save
    assert done(after) == done(before)[:2]


def test_a_folder_that_is_gone_is_a_sentence(tmp_path):
    with pytest.raises(ConfigError, match="cannot write to"):
        control.write(tmp_path / "gone", Instruction(rate=0.1))


def test_a_file_that_was_done_before_the_kill_is_not_done_twice(tmp_path):
    before = Control(tmp_path, RateState())
    path = control.write(tmp_path, Instruction(rate_factor=0.5))
    text = path.read_text()
    before.poll(2)
    path.write_text(text)  # as if the kill had come before its removal
    after = Control(tmp_path, RateState(factor=0.5))
    after.resume(4)
    after.poll(4)
    assert after.state.factor == 0.5

import pytest

from trainer import rates
from trainer.config import ScheduleConfig, TrainConfig


def play(patience, gains):
    """What each measurement of a scripted series does: '.', 'cut' or 'stop'."""
    state = rates.RateState()
    told = []
    for is_gain in gains:
        cuts, stops = patience.observe(state, is_gain)
        told.append("stop" if stops else "cut" if cuts else ".")
    return told, state


@pytest.mark.parametrize(
    ("preset", "cut", "stop"), [("report", 7, 15), ("code", 5, 10)]
)
def test_a_plateau_is_cut_once_and_then_stops(preset, cut, stop):
    schedule = ScheduleConfig(name="plateau", plateau_preset=preset)
    patience = rates.Patience.of(schedule, TrainConfig())
    told, state = play(patience, [True] + [False] * stop)
    assert told == ["."] * cut + ["cut"] + ["."] * (stop - cut - 1) + ["stop"]
    assert state.factor == 0.5


def test_only_a_gain_begins_another_plateau():
    patience = rates.Patience(cut_after=2, stop_after=5)
    plateau = [False] * 4
    told, state = play(patience, [True, *plateau, True, *plateau])
    assert told == [".", ".", "cut", ".", ".", ".", ".", "cut", ".", "."]
    assert state.factor == 0.25


def test_other_schedules_have_patience_but_no_cut():
    patience = rates.Patience.of(ScheduleConfig(), TrainConfig(patience=2))
    assert play(patience, [False] * 2)[0] == [".", "stop"]
    assert rates.Patience.of(ScheduleConfig(), TrainConfig()) == rates.Patience(0, 0)
    plateau = ScheduleConfig(name="plateau", plateau_patience=3)
    assert rates.Patience.of(plateau, TrainConfig(patience=9)) == rates.Patience(3, 9)


def test_rate_of_schedule_factor_and_hand():
    state = rates.RateState()
    rate = rates.Rate(lambda step: 0.1 * step, state)
    assert rate.at(3) == pytest.approx(0.3)
    state.factor = 0.5
    assert rate.at(3) == pytest.approx(0.15)
    state.fixed = 0.7
    assert rate.at(3) == rate.at(4) == 0.7

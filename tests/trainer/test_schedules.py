"""Golden values, computed by hand or printed by the systems."""

import subprocess
import sys

import numpy as np
import pytest

from common.errors import ConfigError
from trainer import schedules
from trainer.config import ScheduleConfig

HALF = np.sqrt(0.5)


def made(name, *, base_rate=0.4, total_steps=110, steps_per_epoch=10, **settings):
    settings = {"warmup_epochs": 0, **settings}
    return schedules.make(
        ScheduleConfig(name=name, **settings),
        base_rate=base_rate,
        total_steps=total_steps,
        steps_per_epoch=steps_per_epoch,
    )


@pytest.mark.parametrize(
    ("schedule", "values"),
    [
        (made("constant"), {0: 0.4, 10**9: 0.4}),
        (made("plateau"), {0: 0.4, 10**9: 0.4}),
        # The ramp is 0.04 a step; a quarter of the cosine is 0.2 * (1 + sqrt(0.5)).
        (
            made("cosine", warmup_epochs=1),
            {
                **{0: 0.0, 1: 0.04, 5: 0.2, 10: 0.4, 35: 0.2 * (1 + HALF), 60: 0.2},
                **{85: 0.2 * (1 - HALF), 110: 0.0, 1000: 0.0},
            },
        ),
        (made("cosine", end_share=0.5), {0: 0.4, 55: 0.3, 110: 0.2, 500: 0.2}),
        (made("polynomial"), {0: 0.4, 55: 0.2, 110: 0.0, 200: 0.0}),
        (made("polynomial", power=2, end_share=0.25), {0: 0.4, 55: 0.175, 110: 0.1}),
        (
            made("exponential", decay_factor=0.5, decay_epochs=2),
            {0: 0.4, 19: 0.4, 20: 0.2, 39: 0.2, 40: 0.1},
        ),
        (
            made("exponential", decay_factor=0.25, decay_epochs=2, staircase=False),
            {0: 0.4, 10: 0.2, 20: 0.1},
        ),
        (
            made("piecewise", boundaries_epochs=(3, 4.5)),
            {0: 0.4, 29: 0.4, 30: 0.04, 44: 0.04, 45: 0.004, 999: 0.004},
        ),
        # A hundred steps: up to step 30, down to a 250,000th of the peak.
        (
            made("one_cycle", total_steps=100),
            {0: 0.016, 15: 0.208, 30: 0.4, 65: 0.2000008, 100: 1.6e-6},
        ),
        (
            made("triangular", min_rate=0.2, half_cycle_epochs=1),
            {0: 0.2, 5: 0.3, 10: 0.4, 15: 0.3, 20: 0.2, 30: 0.4},
        ),
        (
            made("triangular2", min_rate=0.2, half_cycle_epochs=1),
            {0: 0.2, 10: 0.4, 20: 0.2, 30: 0.3, 40: 0.2, 50: 0.25},
        ),
        (
            made("exp_range", min_rate=0.2, half_cycle_epochs=1, gamma=0.9),
            {0: 0.2, 10: 0.2 + 0.2 * 0.9**10, 20: 0.2, 30: 0.2 + 0.2 * 0.9**30},
        ),
    ],
)
def test_golden_values(schedule, values):
    rates = schedule(np.array(list(values)))
    np.testing.assert_allclose(rates, list(values.values()), rtol=1e-6, atol=1e-12)
    for step, value in values.items():
        assert float(schedule(step)) == pytest.approx(value, rel=1e-6, abs=1e-12)


@pytest.mark.parametrize(
    ("step", "rate"),
    [
        (0, 0.001018),
        (499, 0.00905),
        (500, 0.001016),
        (999, 0.00819),
        (6 * 500 - 1, 0.00549),
        (11 * 500 - 1, 0.00333),
        (21 * 500 - 1, 0.00122),
    ],
)
def test_sawtooth_is_what_the_inception_system_prints(step, rate):
    """First and last step of epochs of 500, with the digits that it prints."""
    schedule = made(
        "sawtooth", base_rate=0.01, min_rate=0.001, steps_per_epoch=500, gamma=0.9998
    )
    digits = len(str(rate)) - 2
    assert round(float(schedule(step)), digits) == rate


def test_sawtooth_ends_constant():
    schedule = made("sawtooth", base_rate=0.01, steps_per_epoch=500)
    # 0.9998 ** 11512 is the first power below a tenth.
    assert float(schedule(11_499)) > 0.001
    np.testing.assert_array_equal(schedule(np.arange(11_512, 20_000, 7)), 0.001)


def test_the_ramp_takes_half_of_a_short_training_at_most():
    schedule = made("cosine", total_steps=8, warmup_epochs=5)
    np.testing.assert_allclose(schedule([0, 2, 4, 6, 8]), [0, 0.2, 0.4, 0.2, 0])


@pytest.mark.parametrize("name", schedules.UNWARMED)
def test_schedules_with_a_beginning_of_their_own_have_no_ramp(name):
    settings = {"min_rate": 0.1}
    with_ramp = made(name, warmup_epochs=3, **settings)
    np.testing.assert_array_equal(
        with_ramp(np.arange(50)), made(name, **settings)(np.arange(50))
    )


@pytest.mark.parametrize("name", ["triangular", "triangular2", "exp_range", "sawtooth"])
def test_a_lower_rate_above_the_peak_is_a_sentence(name):
    with pytest.raises(ConfigError, match=r"'schedule.min_rate' is not below") as info:
        made(name, base_rate=0.001, min_rate=0.001)
    assert info.value.found == "0.001, train.learning_rate 0.001"
    assert info.value.tip == "--set schedule.min_rate=0.0001"


@pytest.mark.parametrize("boundaries", [(), (5, 3), (3, 3)])
def test_boundaries_that_do_not_rise_are_a_sentence(boundaries):
    with pytest.raises(ConfigError, match="does not rise"):
        made("piecewise", boundaries_epochs=boundaries)


def test_schedules_do_not_load_tensorflow():
    code = "import sys, trainer.schedules; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

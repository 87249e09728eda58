"""Learning rates as functions of the step, a number or an array; no TensorFlow.

`step` counts the updates already applied. `make` builds the function that an experiment
asks for; the training feeds its value to the graph, and `slimline plot-rate` draws it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from numpy.typing import ArrayLike

from common.errors import ConfigError
from trainer.config import ScheduleConfig

Rates = np.ndarray
Schedule = Callable[[ArrayLike], Rates]

# Of the one-cycle policy: the share of the training that rises, the first rate as a share
# of the peak, and the last as a share of the first.
ONE_CYCLE_RISE = 0.3
ONE_CYCLE_FIRST = 1 / 25
ONE_CYCLE_LAST = 1e-4


def constant(step: ArrayLike, *, base_rate: float) -> Rates:
    """The same rate after any number of updates."""
    return np.full(np.shape(step), base_rate, np.float64)


def exponential(
    step: ArrayLike,
    *,
    base_rate: float,
    decay_factor: float,
    decay_steps: float,
    is_staircase: bool,
) -> Rates:
    """`decay_factor` times the rate every `decay_steps`, at once or smoothly."""
    decays = np.asarray(step, np.float64) / decay_steps
    return base_rate * decay_factor ** (np.floor(decays) if is_staircase else decays)


def piecewise(
    step: ArrayLike,
    *,
    base_rate: float,
    decay_factor: float,
    boundary_steps: Sequence[float],
) -> Rates:
    """`decay_factor` times the rate from each boundary on."""
    passed = np.searchsorted(np.asarray(boundary_steps), step, side="right")
    return base_rate * decay_factor ** passed.astype(np.float64)


def polynomial(
    step: ArrayLike, *, base_rate: float, end_rate: float, power: float, steps: int
) -> Rates:
    """From `base_rate` to `end_rate` in `steps`, as (1 - progress) to `power`."""
    left = 1 - np.clip(np.asarray(step, np.float64) / steps, 0, 1)
    return end_rate + (base_rate - end_rate) * left**power


def cosine(
    step: ArrayLike, *, base_rate: float, end_rate: float, steps: float
) -> Rates:
    """Half a cosine from `base_rate` down to `end_rate` in `steps`.

    Reference: Loshchilov and Hutter, arXiv:1608.03983, eq. 5, one cycle.
    """
    progress = np.clip(np.asarray(step, np.float64) / steps, 0, 1)
    return end_rate + (base_rate - end_rate) * (1 + np.cos(np.pi * progress)) / 2


def one_cycle(step: ArrayLike, *, base_rate: float, steps: int) -> Rates:
    """Up to `base_rate` in the first three tenths, then down to almost nothing.

    Both ways along half a cosine, from a 25th of the peak and to a ten-thousandth of that.

    Reference: Smith and Topin, arXiv:1708.07120, section 3.
    """
    first = base_rate * ONE_CYCLE_FIRST
    top = ONE_CYCLE_RISE * steps
    rising = cosine(step, base_rate=first, end_rate=base_rate, steps=top)
    falling = cosine(
        np.asarray(step) - top,
        base_rate=base_rate,
        end_rate=first * ONE_CYCLE_LAST,
        steps=steps - top,
    )
    return np.where(np.asarray(step) < top, rising, falling)


def cyclical(
    step: ArrayLike,
    *,
    base_rate: float,
    min_rate: float,
    half_cycle_steps: float,
    gamma: float = 1.0,
    is_halved: bool = False,
) -> Rates:
    """From `min_rate` up to `base_rate` in half a cycle and down again, for ever.

    The height shrinks by `gamma` with every update, and to half in each further cycle where
    `is_halved`: triangular, exp_range and triangular2.

    Reference: Smith, arXiv:1506.01186, section 3.2.
    """
    step = np.asarray(step, np.float64)
    height: np.ndarray | float = base_rate - min_rate
    if is_halved:
        height = height / 2 ** np.floor(step / (2 * half_cycle_steps))
    # 0 at the ends of a cycle, 1 in its middle.
    halves = step / half_cycle_steps
    cycle = np.floor(1 + halves / 2)
    share = np.maximum(0, 1 - np.abs(halves - 2 * cycle + 1))
    return min_rate + height * gamma**step * share


def sawtooth(
    step: ArrayLike,
    *,
    base_rate: float,
    min_rate: float,
    epoch_steps: int,
    gamma: float,
) -> Rates:
    """`exp_range` as the Inception-v2 system calls it: only the rising halves.

    The step restarts at 1 in each epoch, which is half a cycle, while the upper rate
    shrinks by `gamma` at every call down to `min_rate`.
    """
    calls = np.asarray(step, np.float64)
    rising = (calls % epoch_steps + 1) / epoch_steps
    upper = np.maximum(base_rate * gamma**calls, min_rate)
    return min_rate + (upper - min_rate) * rising


def make(
    config: ScheduleConfig, *, base_rate: float, total_steps: int, steps_per_epoch: int
) -> Schedule:
    """The schedule that `config` describes, warm-up included.

    Args:
      config: which one, with its settings in epochs.
      base_rate: peak rate per update. Linear scaling rule: about 0.1 for a batch of 256.
      total_steps: updates of the whole training; cosine, polynomial and one-cycle end
        there.
      steps_per_epoch: updates a pass over the train split.

    Raises:
      ConfigError: settings that make no schedule.
    """
    check(config, base_rate)
    # A short training keeps half of its length for the schedule proper.
    warmup_steps = min(round(config.warmup_epochs * steps_per_epoch), total_steps // 2)
    if config.name in UNWARMED:
        warmup_steps = 0
    rest = max(total_steps - warmup_steps, 1)
    end_rate = config.end_share * base_rate
    half_cycle_steps = max(config.half_cycle_epochs * steps_per_epoch, 1)
    cycles = partial(
        cyclical, min_rate=config.min_rate, half_cycle_steps=half_cycle_steps
    )
    # A plateau is met by a factor on top: see `trainer.rates`.
    schedule: Callable[..., Rates] = constant
    begins_at = 0
    match config.name:
        case "cosine":
            schedule = partial(cosine, end_rate=end_rate, steps=rest)
            begins_at = warmup_steps
        case "polynomial":
            schedule = partial(
                polynomial, end_rate=end_rate, power=config.power, steps=rest
            )
            begins_at = warmup_steps
        case "exponential":
            schedule = partial(
                exponential,
                decay_factor=config.decay_factor,
                decay_steps=config.decay_epochs * steps_per_epoch,
                is_staircase=config.staircase,
            )
        case "piecewise":
            boundaries = [epoch * steps_per_epoch for epoch in config.boundaries_epochs]
            schedule = partial(
                piecewise, decay_factor=config.decay_factor, boundary_steps=boundaries
            )
        case "one_cycle":
            schedule = partial(one_cycle, steps=total_steps)
        case "triangular":
            schedule = cycles
        case "triangular2":
            schedule = partial(cycles, is_halved=True)
        case "exp_range":
            schedule = partial(cycles, gamma=config.gamma)
        case "sawtooth":
            schedule = partial(
                sawtooth,
                min_rate=config.min_rate,
                epoch_steps=steps_per_epoch,
                gamma=config.gamma,
            )

    def rate(step: ArrayLike) -> Rates:
        steps = np.asarray(step, np.float64)
        ramp = base_rate * steps / max(warmup_steps, 1)
        rates = schedule(steps - begins_at, base_rate=base_rate)
        return np.where(steps < warmup_steps, ramp, rates)

    return rate


CYCLICAL = ("triangular", "triangular2", "exp_range", "sawtooth")
# Schedules that take no warm-up.
UNWARMED = ("one_cycle", *CYCLICAL)


def check(config: ScheduleConfig, base_rate: float) -> None:
    """Refuses settings that make no schedule.

    Raises:
      ConfigError: a lower rate above the upper one, or boundaries that do not rise.
    """
    if config.name in CYCLICAL and config.min_rate >= base_rate:
        raise ConfigError(
            f"setting 'schedule.min_rate' is not below the peak of {config.name}",
            found=f"{config.min_rate:g}, train.learning_rate {base_rate:g}",
            tip=f"--set schedule.min_rate={base_rate / 10:g}",
        )
    boundaries = config.boundaries_epochs
    if config.name == "piecewise" and (
        not boundaries or list(boundaries) != sorted(set(boundaries))
    ):
        raise ConfigError(
            "setting 'schedule.boundaries_epochs' does not rise",
            found=", ".join(f"{epoch:g}" for epoch in boundaries) or "nothing",
            expected="epochs in rising order",
            tip="--set 'schedule.boundaries_epochs=[30, 45]'",
        )

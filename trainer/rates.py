"""The rate of a training: its schedule, cuts at plateaus, and instructions."""

import dataclasses

from trainer.config import ScheduleConfig, TrainConfig
from trainer.schedules import Schedule

PLATEAU_FACTOR = 0.5
# Measurements without gain until the rate is cut and until the training stops, from the
# report and from the code of the ten-layer system.
PRESETS = {"report": (7, 15), "code": (5, 10)}


@dataclasses.dataclass
class RateState:
    """State of the rate; part of each checkpoint.

    Attributes:
      factor: on the schedule, from plateaus and instructions.
      fixed: rate of an instruction, until it is released; None for none.
      without_gain: measurements since the last gain.
      is_cut: whether the rate was cut at this plateau.
    """

    factor: float = 1.0
    fixed: float | None = None
    without_gain: int = 0
    is_cut: bool = False


class Rate:
    """The rate at each step, and the state it depends on."""

    def __init__(self, schedule: Schedule, state: RateState | None = None):
        self.state = state or RateState()
        self._schedule = schedule

    def at(self, step: int) -> float:
        """Rate of the update that follows `step` others."""
        if self.state.fixed is not None:
            return self.state.fixed
        return self.state.factor * float(self._schedule(step))


@dataclasses.dataclass(frozen=True)
class Patience:
    """Number of measurements without gain that have consequences; 0 for never.

    Attributes:
      cut_after: the rate is cut, once for each plateau.
      stop_after: the training stops.
    """

    cut_after: int
    stop_after: int

    @classmethod
    def of(cls, schedule: ScheduleConfig, train: TrainConfig) -> "Patience":
        """From the settings; a preset overrides both numbers."""
        if schedule.name != "plateau":
            return cls(0, train.patience)
        if schedule.plateau_preset != "none":
            return cls(*PRESETS[schedule.plateau_preset])
        return cls(schedule.plateau_patience, train.patience)

    def observe(self, state: RateState, is_gain: bool) -> tuple[bool, bool]:
        """Adds a measurement to `state`; (whether it cut the rate, whether to stop).

        The rate is cut once for each plateau, which ends with a gain.
        """
        if is_gain:
            state.without_gain, state.is_cut = 0, False
            return False, False
        state.without_gain += 1
        cuts = bool(
            self.cut_after and not state.is_cut and state.without_gain >= self.cut_after
        )
        if cuts:
            state.factor *= PLATEAU_FACTOR
            state.is_cut = True
        stops = bool(self.stop_after and state.without_gain >= self.stop_after)
        return cuts, stops

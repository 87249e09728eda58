"""The rate of a training: its schedule, cut at plateaus, and what a person sets by hand."""

import dataclasses

from trainer.config import ScheduleConfig, TrainConfig
from trainer.schedules import Schedule

PLATEAU_FACTOR = 0.5
# Measurements without gain until the rate is cut and until the training stops: as the
# ten-layer system's report prints them, and as its code has them.
PRESETS = {"report": (7, 15), "code": (5, 10)}


@dataclasses.dataclass
class RateState:
    """What must survive a restart.

    Attributes:
      factor: on the schedule, from plateaus and by hand.
      fixed: rate set by hand, which holds until it is released; None for none.
      without_gain: measurements since the last gain.
      is_cut: whether this plateau has had its cut.
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
    """When measurements without gain have consequences.

    Attributes:
      cut_after: the rate is cut, once a plateau; 0 for never.
      stop_after: the training stops; 0 for never.
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
        """Takes a measurement into `state`; (whether it cut the rate, whether to stop).

        The cut comes once: a plateau that lasts is not cut again, only a gain begins
        another one.
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

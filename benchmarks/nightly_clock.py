"""The clock of simulated years: it goes on only where somebody waits."""

import datetime

from pipeline.slots import clock

FIRST = datetime.datetime(2026, 1, 1, 2, 0, tzinfo=datetime.UTC)


class NightlyClock(clock.Clock):
    """Stands at two in the morning until it is told to go on."""

    def __init__(self) -> None:
        self._now = FIRST

    def now(self) -> datetime.datetime:
        """The time in UTC."""
        return self._now

    def sleep(self, seconds: float) -> None:
        """Lets the time go by."""
        self._now += datetime.timedelta(seconds=seconds)

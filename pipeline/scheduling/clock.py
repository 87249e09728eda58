"""The time, behind an object: a simulated night takes no night."""

import datetime
import time
from typing import Protocol


class Clock(Protocol):
    """Where all of scheduling takes the time from."""

    def now(self) -> datetime.datetime:
        """The time in UTC."""

    def sleep(self, seconds: float) -> None:
        """Waits."""


class SystemClock:
    """The clock of this machine."""

    def now(self) -> datetime.datetime:
        """See base class."""
        return datetime.datetime.now(datetime.UTC)

    def sleep(self, seconds: float) -> None:
        """See base class."""
        time.sleep(max(0.0, seconds))


def in_words(moment: datetime.datetime) -> str:
    """UTC in ISO 8601 to the second; sorts as the moments do."""
    return moment.astimezone(datetime.UTC).isoformat(timespec="seconds")

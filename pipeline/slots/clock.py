"""The time, as an object that tests and simulations replace."""

import datetime
import time


class Clock:
    """The clock of this machine."""

    def now(self) -> datetime.datetime:
        """The time in UTC."""
        return datetime.datetime.now(datetime.UTC)

    def sleep(self, seconds: float) -> None:
        """Waits."""
        time.sleep(max(0.0, seconds))


def in_words(moment: datetime.datetime) -> str:
    """UTC in ISO 8601 to the second; sorts as the moments do."""
    return moment.astimezone(datetime.UTC).isoformat(timespec="seconds")

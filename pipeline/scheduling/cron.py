"""Times of a cron expression in a time zone, as UTC.

croniter evaluates the expression in wall-clock time without a zone; this module converts
wall-clock times to UTC. On its own croniter 7 gives 02:30 twice in the night when clocks go
back, croniter 6 shifts it by an hour, and APScheduler 3 takes 0 for Monday.
"""

import contextlib
import dataclasses
import datetime
import re
import zoneinfo
from collections.abc import Iterator

import croniter

from common.errors import ConfigError

ALIASES = (
    *("@hourly", "@daily", "@midnight", "@weekly"),
    *("@monthly", "@annually", "@yearly"),
)
_FIELDS = 5
# R and H would draw other times in each process.
_DRAWN = re.compile(r"\b[RH]\b", re.IGNORECASE)
# No zone has changed its offset by more than a day.
_DAY = datetime.timedelta(days=1, hours=1)
_FIRST_LOOK = datetime.timedelta(hours=2)


@dataclasses.dataclass(frozen=True)
class Cron:
    """Slots by a cron expression.

    A wall-clock time that is skipped when clocks go forward runs an hour later: 02:30
    becomes 03:30. One that comes twice when clocks go back runs the first time only, and
    both times where the expression names every hour (`*`).

    Attributes:
      expression: five fields (minute, hour, day, month, day of the week), or one of ALIASES.
      timezone: IANA name, as 'Europe/Berlin'.

    Raises:
      ConfigError: the expression or the zone cannot be read.
    """

    expression: str
    timezone: str = "UTC"

    def __post_init__(self) -> None:
        text = self.expression
        is_plain = len(text.split()) == _FIELDS and not _DRAWN.search(text)
        start = datetime.datetime(2024, 1, 1)
        if not (is_plain or text in ALIASES) or not any(self._wall_times(start)):
            raise ConfigError(
                f"cannot read the cron expression '{text}'",
                expected="minute, hour, day, month and day of the week, as '0 3 * * *'"
                f" or '*/15 8-18 * * mon-fri', or {', '.join(ALIASES)}; and a day that"
                " there is",
            )
        try:
            self._zone()
        except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise ConfigError(
                f"unknown time zone '{self.timezone}'",
                expected="an IANA name, as UTC or Europe/Berlin",
            ) from error

    def between(
        self, after: datetime.datetime, until: datetime.datetime
    ) -> list[datetime.datetime]:
        """Slots in (after, until], in UTC, rising."""
        zone = self._zone()
        near = [
            moment.astimezone(zone).utcoffset() or datetime.timedelta()
            for moment in (after - _DAY, after, until, until + _DAY)
        ]
        # How far a wall-clock time may be from the UTC time that it means.
        margin = max(near) - min(near)
        first, last = (
            moment.astimezone(zone).replace(tzinfo=None) for moment in (after, until)
        )
        found = set()
        for wall in self._wall_times(first - margin):
            if wall > last + margin:
                break
            for moment in self._moments(wall, zone):
                if after < moment <= until:
                    found.add(moment)
        return sorted(found)

    def newest(
        self, after: datetime.datetime, until: datetime.datetime, count: int
    ) -> tuple[list[datetime.datetime], bool]:
        """The last `count` slots in (after, until], rising; whether there are earlier ones.

        The work is bounded by `count`, however long the interval is.
        """
        found: list[datetime.datetime] = []
        end, look = until, _FIRST_LOOK
        while end > after and len(found) <= count:
            start = max(after, end - look)
            found = self.between(start, end) + found
            end, look = start, look * 4
        return found[-count:], len(found) > count

    def next(self, after: datetime.datetime) -> datetime.datetime:
        """The first slot after a time."""
        look = _FIRST_LOOK
        while not (found := self.between(after, after + look)):
            look *= 8
        return found[0]

    def _zone(self) -> zoneinfo.ZoneInfo:
        return zoneinfo.ZoneInfo(self.timezone)

    def _wall_times(self, after: datetime.datetime) -> Iterator[datetime.datetime]:
        """Wall-clock times from `after` on, inclusive."""
        # A microsecond before: croniter's start is exclusive.
        start = after - datetime.timedelta(microseconds=1)
        with contextlib.suppress(croniter.CroniterError):
            found = croniter.croniter(self.expression, start)
            while True:
                yield found.get_next(datetime.datetime)

    def _moments(
        self, wall: datetime.datetime, zone: zoneinfo.ZoneInfo
    ) -> Iterator[datetime.datetime]:
        """The times in UTC that a wall-clock time means."""
        first = wall.replace(tzinfo=zone).astimezone(datetime.UTC)
        yield first
        fields = self.expression.split()
        if fields == ["@hourly"] or fields[1:2] == ["*"]:
            second = wall.replace(tzinfo=zone, fold=1).astimezone(datetime.UTC)
            # In the gap that clocks skip, fold=1 is the earlier of the two.
            if second > first:
                yield second

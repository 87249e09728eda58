"""Which moments an expression means, in nights when clocks change, too."""

import datetime
import itertools
import random
import zoneinfo

import pytest

from common.errors import ConfigError
from pipeline.scheduling.cron import Cron


def utc(text: str) -> datetime.datetime:
    return datetime.datetime.fromisoformat(text).replace(tzinfo=datetime.UTC)


def between(expression: str, start: str, end: str, zone: str = "UTC") -> list[str]:
    found = Cron(expression, zone).between(utc(start), utc(end))
    return [moment.strftime("%d %H:%M") for moment in found]


def test_the_start_is_out_and_the_end_is_in() -> None:
    assert between("0 3 * * *", "2026-11-26 03:00", "2026-11-28 03:00") == [
        "27 03:00",
        "28 03:00",
    ]


@pytest.mark.parametrize(
    ("expression", "day"),
    [
        ("0 3 * * 0", "29 03:00"),  # Sunday, where APScheduler takes it for Monday
        ("0 3 * * 7", "29 03:00"),
        ("0 3 * * sun", "29 03:00"),
        ("0 3 * * mon-fri", "27 03:00"),
        ("0 3 30 * 1", "30 03:00"),  # on the 30th or on Mondays, as cron has it
        ("@daily", "27 00:00"),
    ],
)
def test_days_are_those_of_cron(expression: str, day: str) -> None:
    found = Cron(expression).next(utc("2026-11-26 04:00"))
    assert found.strftime("%d %H:%M") == day


def test_a_time_that_the_clock_skips_is_made_up_for() -> None:
    # In Berlin 02:00 became 03:00 on 29 March 2026.
    found = between(
        "30 2 * * *", "2026-03-27 12:00", "2026-03-30 12:00", "Europe/Berlin"
    )
    assert found == ["28 01:30", "29 01:30", "30 00:30"]
    # Where the time after the gap is a slot as well, it is one slot and not two.
    both = between(
        "30 2,3 * * *", "2026-03-29 00:00", "2026-03-29 12:00", "Europe/Berlin"
    )
    assert both == ["29 01:30"]


def test_a_time_that_comes_twice_is_one_slot() -> None:
    # In Berlin 03:00 became 02:00 on 25 October 2026.
    found = between(
        "30 2 * * *", "2026-10-24 12:00", "2026-10-26 12:00", "Europe/Berlin"
    )
    assert found == ["25 00:30", "26 01:30"]


@pytest.mark.parametrize("day", ["2026-03-29", "2026-10-25"])
def test_every_quarter_of_an_hour_is_one_in_such_nights_too(day: str) -> None:
    start = utc(f"{day} 00:00") - datetime.timedelta(hours=2)
    found = Cron("*/15 * * * *", "Europe/Berlin").between(
        start, start + datetime.timedelta(hours=6)
    )
    assert len(found) == 24
    steps = {later - earlier for earlier, later in itertools.pairwise(found)}
    assert steps == {datetime.timedelta(minutes=15)}


def test_half_an_hour_of_change() -> None:
    # Lord Howe changes by 30 minutes: on 4 October 2026 02:00 became 02:30.
    found = between(
        "15 2 * * *", "2026-10-02 00:00", "2026-10-05 00:00", "Australia/Lord_Howe"
    )
    assert found == ["02 15:45", "03 15:45", "04 15:15"]


def test_a_day_that_a_country_skips() -> None:
    # Samoa had no 30 December 2011.
    found = Cron("0 12 * * *", "Pacific/Apia").between(
        utc("2011-12-28 00:00"), utc("2012-01-01 00:00")
    )
    zone = zoneinfo.ZoneInfo("Pacific/Apia")
    days = [moment.astimezone(zone).day for moment in found]
    assert days == [28, 29, 31, 1]


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "America/New_York"])
@pytest.mark.parametrize("expression", ["30 2 * * *", "*/20 * * * *", "0 */3 * * *"])
def test_pieces_give_what_the_whole_gives(zone: str, expression: str) -> None:
    """No slot is lost or doubled where looks fall as they may."""
    drawn = random.Random(f"{zone}{expression}")
    start, end = utc("2026-10-20 00:00"), utc("2026-11-05 00:00")
    cron = Cron(expression, zone)
    whole = cron.between(start, end)
    at, pieces = start, []
    while at < end:
        to = min(end, at + datetime.timedelta(minutes=drawn.randint(1, 700)))
        pieces += cron.between(at, to)
        at = to
    assert pieces == whole
    assert whole == sorted(set(whole))
    for moment in whole:
        assert cron.next(moment - datetime.timedelta(seconds=1)) == moment


def test_a_year_without_a_look_costs_no_more_than_what_is_asked_for() -> None:
    cron = Cron("* * * * *")
    found, has_earlier = cron.newest(
        utc("2025-11-26 00:00"), utc("2026-11-26 00:00"), 3
    )
    assert [moment.strftime("%H:%M") for moment in found] == ["23:58", "23:59", "00:00"]
    assert has_earlier
    found, has_earlier = cron.newest(
        utc("2026-11-25 23:57"), utc("2026-11-26 00:00"), 3
    )
    assert len(found) == 3 and not has_earlier


def test_the_29th_of_february() -> None:
    assert Cron("0 3 29 2 *").next(utc("2096-03-01 00:00")) == utc("2104-02-29 03:00")


@pytest.mark.parametrize(
    "expression",
    [
        "",
        "0 3 * *",
        "0 3 * * * *",
        "61 3 * * *",
        "0 3 * * 8",
        "R 3 * * *",
        "h h(1-3) * * *",
        "@reboot",
        "nightly",
        "0 0 30 2 *",
    ],
)
def test_expressions_that_name_no_slots(expression: str) -> None:
    with pytest.raises(ConfigError, match="cron expression"):
        Cron(expression)


def test_an_unknown_time_zone() -> None:
    with pytest.raises(ConfigError, match="unknown time zone 'Europe/Bonn'"):
        Cron("@daily", "Europe/Bonn")

"""Cron expressions with six fields, as Kubeflow's parser reads them."""

import pytest

from common.errors import ConfigError
from pipeline.kubeflow import cron


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ("0 0 3 * * *", "0 0 3 * * *"),
        ("0 3 * * *", "0 0 3 * * *"),
        ("  30  0,30 9-17/2  ? JAN-mar Mon-Fri ", "30 0,30 9-17/2 ? JAN-mar Mon-Fri"),
        ("*/15 * * * *", "0 */15 * * * *"),
        ("59 59 23 31 12 6", "59 59 23 31 12 6"),
        ("0 5/10 * 1-7 * 0", "0 5/10 * 1-7 * 0"),
        ("@daily", "@daily"),
    ],
)
def test_what_the_server_can_read(given: str, sent: str) -> None:
    assert cron.seconds_first(given) == sent
    assert cron.seconds_first(sent) == sent


@pytest.mark.parametrize("given", ["", "* * *", "0 0 3 * * * 2026", "@every 1h", "3am"])
def test_other_numbers_of_fields(given: str) -> None:
    with pytest.raises(ConfigError, match="a schedule has six fields: second, minute"):
        cron.seconds_first(given)


@pytest.mark.parametrize(
    ("given", "field", "part"),
    [
        ("60 0 3 * * *", "second", "60"),
        ("0 0 24 * * *", "hour", "24"),
        ("0 0 3 0 * *", "day of the month", "0"),
        ("0 0 3 * 13 *", "month", "13"),
        ("0 0 3 * foo *", "month", "foo"),
        ("0 0 3 * * 8", "day of the week", "8"),
        ("0 30-10 3 * * *", "minute", "30-10"),
        ("0 */0 3 * * *", "minute", "*/0"),
        ("0 *-5 3 * * *", "minute", "*-5"),
        ("0 1,,2 3 * * *", "minute", ""),
        ("0 0 3 L * *", "day of the month", "L"),
        ("0 0 3 * * ²", "day of the week", "²"),
        ("0 -1 3 * * *", "minute", "-1"),
        ("mon 0 3 * * *", "second", "mon"),
    ],
)
def test_the_message_names_field_and_part(given: str, field: str, part: str) -> None:
    with pytest.raises(ConfigError) as caught:
        cron.seconds_first(given)
    assert caught.value.message == f"the {field} of a schedule cannot be '{part}'"


def test_crontab_lets_sunday_be_7() -> None:
    with pytest.raises(ConfigError) as caught:
        cron.seconds_first("0 3 * * 7")
    assert caught.value.tip == "Sunday is 0"
    assert caught.value.expected.startswith("0 to 6 or sun to sat")

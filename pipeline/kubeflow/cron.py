"""Cron expressions as Kubeflow Pipelines reads them: six fields, seconds first.

Its parser (robfig/cron, version 1) takes five fields, too, but the first for seconds and the
last for months: '0 3 * * *', every night at three, would silently run every hour.
"""

import re
from typing import NamedTuple

from common.errors import ConfigError

EXAMPLE = "0 0 3 * * *"
DESCRIPTORS = (
    *("@hourly", "@daily", "@midnight", "@weekly"),
    *("@monthly", "@annually", "@yearly"),
)


class _Field(NamedTuple):
    """Name, values, and names that may stand for the values from the lowest on."""

    name: str
    values: range
    names: tuple[str, ...] = ()


_FIELDS = (
    _Field("second", range(60)),
    _Field("minute", range(60)),
    _Field("hour", range(24)),
    _Field("day of the month", range(1, 32)),
    _Field(
        "month",
        range(1, 13),
        (
            *("jan", "feb", "mar", "apr", "may", "jun"),
            *("jul", "aug", "sep", "oct", "nov", "dec"),
        ),
    ),
    _Field(
        "day of the week", range(7), ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
    ),
)
_PART = re.compile(r"([*?]|[0-9A-Za-z]+)(?:-([0-9A-Za-z]+))?(?:/([0-9]+))?")


def seconds_first(expression: str) -> str:
    """The expression with six fields: five, as in crontab, get a 0 for the second in front.

    Raises:
      ConfigError: the server could not read it.
    """
    fields = expression.split()
    if len(fields) == 1 and fields[0] in DESCRIPTORS:
        return fields[0]
    if len(fields) == len(_FIELDS) - 1:
        fields.insert(0, "0")
    if len(fields) != len(_FIELDS):
        raise ConfigError(
            f"a schedule has six fields: {', '.join(field.name for field in _FIELDS)}",
            found=expression.strip() or "nothing",
            expected=f"as in '{EXAMPLE}', at three every night",
        )
    for text, field in zip(fields, _FIELDS, strict=True):
        for part in text.split(","):
            if not _is_legal(part, field):
                raise _refusal(part, field)
    return " ".join(fields)


def _is_legal(part: str, field: _Field) -> bool:
    """Whether a field's list may hold `part`: a value, a range, either with a step."""
    match = _PART.fullmatch(part)
    if not match:
        return False
    first, last, step = match.groups()
    if step is not None and not int(step):
        return False
    if first in ("*", "?"):
        return last is None
    low, high = _number(first, field), _number(last or first, field)
    return low is not None and high is not None and low <= high


def _number(text: str, field: _Field) -> int | None:
    """The value that `text` means; None where the field has no such value."""
    if text.lower() in field.names:
        return field.values[field.names.index(text.lower())]
    return int(text) if text.isdecimal() and int(text) in field.values else None


def _refusal(part: str, field: _Field) -> ConfigError:
    names = f" or {field.names[0]} to {field.names[-1]}" if field.names else ""
    return ConfigError(
        f"the {field.name} of a schedule cannot be '{part}'",
        expected=f"{field.values[0]} to {field.values[-1]}{names}; *, 1-5, */10 or a list"
        " of them",
        tip="Sunday is 0" if part == "7" and field is _FIELDS[-1] else "",
    )

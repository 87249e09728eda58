"""Cron expressions as Kubeflow Pipelines reads them: six fields, seconds first.

Its parser (robfig/cron, version 1) takes five fields, too, but the first for seconds and the
last for months: '0 3 * * *', every night at three, would run every hour, without a word.
"""

import dataclasses
import re
from collections.abc import Sequence

from common.errors import ConfigError

EXAMPLE = "0 0 3 * * *"
DESCRIPTORS = (
    "@yearly",
    "@annually",
    "@monthly",
    "@weekly",
    "@daily",
    "@midnight",
    "@hourly",
)


@dataclasses.dataclass(frozen=True)
class _Field:
    """Name, lowest and highest value, and what may stand for the values from the lowest on."""

    name: str
    low: int
    high: int
    names: Sequence[str] = ()


_MONTHS = "jan feb mar apr may jun jul aug sep oct nov dec".split()  # noqa: SIM905
_DAYS = "sun mon tue wed thu fri sat".split()  # noqa: SIM905
_FIELDS = (
    _Field("second", 0, 59),
    _Field("minute", 0, 59),
    _Field("hour", 0, 23),
    _Field("day of the month", 1, 31),
    _Field("month", 1, 12, _MONTHS),
    _Field("day of the week", 0, 6, _DAYS),
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
        return field.low + field.names.index(text.lower())
    if text.isdecimal() and field.low <= int(text) <= field.high:
        return int(text)
    return None


def _refusal(part: str, field: _Field) -> ConfigError:
    names = f" or {field.names[0]} to {field.names[-1]}" if field.names else ""
    return ConfigError(
        f"the {field.name} of a schedule cannot be '{part}'",
        expected=f"{field.low} to {field.high}{names}; *, 1-5, */10 or a list of them",
        tip="Sunday is 0" if part == "7" and field is _FIELDS[-1] else "",
    )

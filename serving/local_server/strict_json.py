"""JSON from strangers: depth and count are checked before anything is built.

Python's own reader goes as deep as its stack, takes NaN and infinite numbers, and lets the
later of two equal keys win; none of that is let through here.
"""

import json
import math
import re
from typing import Any, NoReturn, cast

from serving.local_server import errors
from serving.local_server.limits import Limits

# Both are possessive: their time is linear in the length, whatever is sent.
_UNTIL_SIGN = re.compile(r'[^"\[\]{}]*+')
_UNTIL_QUOTE = re.compile(r'[^"\\]*+(?:\\.[^"\\]*+)*+', re.DOTALL)
# Characters that are looked through at a time. A thread holds Python's lock all the while,
# and the event loop, with all other requests, waits for it.
_PART = 64 << 10
# Digits of the longest int64, with its sign; longer than any float that is worth sending.
_INTEGER_SIGNS = 20
_FLOAT_SIGNS = 64


def parse(body: bytes, limits: Limits) -> dict[str, Any]:
    """The object in `body`, UTF-8.

    Raises:
      BadRequest: it is not JSON, not an object, too deep, has a key twice, a number that is
        not finite or has too many digits, or half a surrogate pair.
      TooLarge: it has too many values.
    """
    # More blanks than that before the first sign are no request.
    if not body or body[:_PART].isspace():
        raise errors.BadRequest("JSON Parse error: The document is empty")
    _check_counts(body, limits)
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise errors.BadRequest("JSON Parse error: not UTF-8") from error
    _check_structure(text, limits)
    try:
        value = json.loads(
            text,
            object_pairs_hook=_object,
            parse_constant=_refuse_constant,
            parse_float=_float,
            parse_int=_integer,
        )
    except (ValueError, RecursionError) as error:
        raise errors.BadRequest("JSON Parse error: Invalid document") from error
    if not isinstance(value, dict):
        raise errors.BadRequest("JSON Value: Is not object")
    return value


def _too_many(limits: Limits) -> errors.TooLarge:
    return errors.TooLarge(f"more than {limits.json_values:,} JSON values")


def _check_counts(body: bytes, limits: Limits) -> None:
    # Those within strings count as well: no request needs so many, and counting takes
    # milliseconds where a walk through megabytes of them would take a second.
    for sign, most in ((b",", limits.json_values), (b'"', 4 * limits.json_values)):
        count = 0
        for start in range(0, len(body), _PART):
            count += body.count(sign, start, start + _PART)
            if count > most:
                raise _too_many(limits)


def _check_structure(text: str, limits: Limits) -> None:
    most = 4 * limits.json_values
    position = depth = signs = 0
    is_in_string = False
    while position < len(text):
        end = position + _PART
        pattern = _UNTIL_QUOTE if is_in_string else _UNTIL_SIGN
        position = cast(re.Match[str], pattern.match(text, position, end)).end()
        sign = text[position] if position < min(end, len(text)) else ""
        if sign == "\\" and position + 1 == len(text):
            return
        if sign in ("", "\\"):
            # The part ends here; half an escape at its end begins the next one.
            continue
        position += 1
        signs += 1
        if signs > most:
            raise _too_many(limits)
        if sign == '"':
            is_in_string = not is_in_string
        elif sign in "[{":
            depth += 1
            if depth > limits.json_depth:
                raise errors.BadRequest(
                    f"JSON Parse error: more than {limits.json_depth} levels"
                )
        else:
            depth -= 1


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise errors.BadRequest("JSON Parse error: a key stands twice in an object")
    return found


def _refuse_constant(name: str) -> NoReturn:
    raise errors.BadRequest("JSON Parse error: a number is not finite")


def _float(digits: str) -> float:
    value = float(digits) if len(digits) <= _FLOAT_SIGNS else math.inf
    if not math.isfinite(value):
        raise errors.BadRequest("JSON Parse error: a number is too large or too long")
    return value


def _integer(digits: str) -> int:
    if len(digits) > _INTEGER_SIGNS:
        raise errors.BadRequest("JSON Parse error: a number is too large or too long")
    return int(digits)

"""JSON from strangers: depth and count are checked before anything is built.

Python's own reader goes as deep as its stack, takes NaN and infinite numbers, and lets the
later of two equal keys win; none of that is let through here.
"""

import json
import math
import re
from typing import Any, NoReturn

from serving.local_server import errors
from serving.local_server.limits import Limits

# Text without structure, then a string (which may end with the text) or one sign of
# structure. Every part is possessive: the time is linear in the length, whatever is sent.
_TOKEN = re.compile(
    r'[^"\[\]{}]*+(?:"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)|([\[{])|([\]}]))',
    re.DOTALL,
)
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
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise errors.BadRequest("JSON Parse error: not UTF-8") from error
    if not text.strip():
        raise errors.BadRequest("JSON Parse error: The document is empty")
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


def _check_structure(text: str, limits: Limits) -> None:
    too_many = errors.TooLarge(f"more than {limits.json_values:,} JSON values")
    # Those within strings count as well: no request needs so many, and counting takes
    # milliseconds where the walk below, through megabytes of them, would take a second.
    if text.count(",") > limits.json_values or text.count('"') > 4 * limits.json_values:
        raise too_many
    position = depth = 0
    for _ in range(4 * limits.json_values):
        token = _TOKEN.match(text, position)
        if token is None:
            return
        position = token.end()
        if token[1]:
            depth += 1
            if depth > limits.json_depth:
                raise errors.BadRequest(
                    f"JSON Parse error: more than {limits.json_depth} levels"
                )
        elif token[2]:
            depth -= 1
    raise too_many


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

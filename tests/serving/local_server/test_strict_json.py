"""Bodies from strangers: what is read, what is refused, and that it stays cheap."""

import json
import time

import pytest

from serving.local_server import errors, strict_json
from serving.local_server.limits import Limits

LIMITS = Limits()


def test_a_body_is_read():
    body = '{"a": [1, -2.5, "é\\n", {"b64": "eA=="}], "b": null, "c": true}'.encode()
    assert strict_json.parse(body, LIMITS) == {
        "a": [1, -2.5, "é\n", {"b64": "eA=="}],
        "b": None,
        "c": True,
    }


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"", "empty"),
        (b" \n", "empty"),
        (b"\xff\xfe{\x00}\x00", "not UTF-8"),
        (b"\xef\xbb\xbf{}", "Invalid document"),
        (b"[1]", "Is not object"),
        (b'{"a": 1', "Invalid document"),
        (b'{"a": 1} x', "Invalid document"),
        (b'{"a": NaN}', "not finite"),
        (b'{"a": -Infinity}', "not finite"),
        (b'{"a": 1e999}', "too large"),
        (b'{"a": ' + b"9" * 5_000 + b"}", "too large"),
        (b'{"a": 0.' + b"1" * 5_000 + b"}", "too large"),
        (b'{"a": 1, "a": 2}', "twice"),
        (b'{"a": {"b": 1, "b": 1}}', "twice"),
        (b'{"a": ' + b"[" * 8 + b"]" * 8 + b"}", "more than 8 levels"),
        (b'{"a": ' + b"[" * 250_000, "more than 8 levels"),
        (b'{"a":' * 50_000, "more than 8 levels"),
        (b'"' + b'\\"' * 1_000, "Invalid document"),
    ],
)
def test_what_is_refused(body, text):
    with pytest.raises(errors.BadRequest, match=text) as refused:
        strict_json.parse(body, LIMITS)
    assert refused.value.http_status == 400
    assert len(refused.value.text) < 100


def test_eight_levels_pass_and_brackets_in_strings_are_no_levels():
    body = b'{"a": ' + b"[" * 7 + b'"' + b"[{" * 50 + b'\\"[["' + b"]" * 7 + b"}"
    assert strict_json.parse(body, LIMITS)["a"][0][0][0][0][0][0][0].count("[") == 52


@pytest.mark.parametrize("part", range(2, 9))
@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b'{"a\\"[{": ["\\\\", "\\\\\\"", [[1, "[{" ]], {}]}', None),
        (b'{"a": ["\\\\", [[[[[[[[]]]]]]]]}', "more than 8 levels"),
        (b'{"a": "\\\\\\"' + b"[" * 20 + b'"}', None),
        (b'{"a": "b\\', "Invalid document"),
        (b'{"a": "b', "Invalid document"),
        (b" \n \t  \r   ", "empty"),
    ],
)
def test_it_does_not_matter_where_a_part_ends(monkeypatch, part, body, text):
    monkeypatch.setattr(strict_json, "_PART", part)
    if text is None:
        assert strict_json.parse(body, LIMITS) == json.loads(body)
        return
    with pytest.raises(errors.BadRequest, match=text):
        strict_json.parse(body, LIMITS)


@pytest.mark.parametrize("values", [b"0,", b"[],", b'"",', b"{},"])
def test_values_are_counted_before_they_are_built(values):
    body = b'{"a": [' + values * 200_000 + b"0]}"
    with pytest.raises(errors.TooLarge, match="JSON values"):
        strict_json.parse(body, LIMITS)


@pytest.mark.parametrize(
    "body",
    [
        b'"' + b"\\" * 2_000_000,
        b'"' + b'\\"' * 1_000_000,
        b" " * 2_000_000,
        b"{}" + b" " * 2_000_000 + b"x",
        b'{"a": "' + b"x" * 2_000_000,
        b"1" * 2_000_000,
    ],
)
def test_time_is_linear(body):
    started = time.process_time()
    with pytest.raises((errors.BadRequest, errors.TooLarge)):
        strict_json.parse(body, LIMITS)
    assert time.process_time() - started < 1

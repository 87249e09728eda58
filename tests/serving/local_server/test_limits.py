"""Budgets: from text, and of the bytes of all requests."""

import pathlib

import pytest

from common.errors import ConfigError
from serving.local_server import errors, limits


def test_parse():
    found = limits.parse(["request_bytes=64M", "json_depth=3", "header_bytes=2k"])
    assert (found.request_bytes, found.json_depth, found.header_bytes) == (
        64 << 20,
        3,
        2_048,
    )
    assert found.instances == limits.Limits().instances == 1_024


@pytest.mark.parametrize(
    ("assignment", "text"),
    [
        ("nonsense=1", "no limit 'nonsense'"),
        ("json_depth", "limit json_depth is ''"),
        ("json_depth=-1", "limit json_depth is '-1'"),
        ("json_depth=1.5", "limit json_depth is '1.5'"),
        ("json_depth=M", "limit json_depth is 'M'"),
        ("json_depth=" + "9" * 40, "limit json_depth is"),
        ("json_depth=0", "limit json_depth must be at least 1, not 0"),
    ],
)
def test_what_is_no_limit(assignment, text):
    with pytest.raises(ConfigError, match=text):
        limits.parse([assignment])


def test_every_limit_is_in_the_documentation():
    text = pathlib.Path(__file__).parents[3].joinpath("docs/serving.md").read_text()
    for name, (default, _) in limits.describe().items():
        shown = next(x for x in text.splitlines() if x.startswith(f"| `{name}` |"))
        assert (
            f"{default:,}" in shown
            or f"{default >> 20} MiB" in shown
            or (f"{default >> 10} KiB" in shown)
        ), shown


def test_bytes_under_way():
    whole = limits.InFlight(100)
    with whole.holding(60) as grow_first, whole.holding(0) as grow_second:
        grow_first(50)
        grow_second(40)
        assert whole.taken_bytes == 100
        with pytest.raises(errors.Unavailable), whole.holding(1):
            pass
        with pytest.raises(errors.Unavailable):
            grow_second(41)
        assert whole.taken_bytes == 100
    assert whole.taken_bytes == 0

"""Which paths a pattern means, and that TFX would mean the same."""

import datetime
import pathlib

import pytest
from tfx.components.example_gen import utils as tfx_utils
from tfx.proto import example_gen_pb2

from common.errors import ConfigError, DataError
from components.image_example_gen import spans

FILES = (
    "a/1/x.zip",
    "a/02/x.zip",
    "a/10/x.zip",
    "a/seven/x.zip",
    "b/span-3/v1.zip",
    "b/span-3/v10.zip",
    "b/span-3/v9.zip",
    "b/span-2/v11.zip",
    "c/2026-11-25/images.zip",
    "c/2026-11-26/images.zip",
    "c/2026-13-45/images.zip",
    "d/0007.zip",
    "d/12345.zip",
)


@pytest.fixture
def place(tmp_path: pathlib.Path) -> pathlib.Path:
    for name in FILES:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"PK")
    return tmp_path


DAY = (datetime.date(2026, 11, 26) - datetime.date(1970, 1, 1)).days


@pytest.mark.parametrize(
    ("pattern", "path", "span", "version", "pinned"),
    [
        ("a/{SPAN}/x.zip", "a/10/x.zip", 10, None, "10"),
        ("b/span-{SPAN}/v{VERSION}.zip", "b/span-3/v10.zip", 3, 10, "3.10"),
        (
            "c/{YYYY}-{MM}-{DD}/images.zip",
            "c/2026-11-26/images.zip",
            DAY,
            None,
            str(DAY),
        ),
        ("d/{SPAN:4}.zip", "d/0007.zip", 7, None, "7"),
    ],
)
def test_the_newest_version_of_the_newest_span(
    place: pathlib.Path,
    pattern: str,
    path: str,
    span: int,
    version: int | None,
    pinned: str,
) -> None:
    (found,) = spans.resolve(place / pattern)
    assert (found.path, found.span, found.version) == (place / path, span, version)
    assert spans.pin([found]) == pinned
    assert spans.pinned(place / pattern, pinned) == (found,)


@pytest.mark.parametrize(
    "pattern",
    [
        "a/{SPAN}/x.zip",
        "b/span-{SPAN}/v{VERSION}.zip",
        "d/{SPAN:4}.zip",
    ],
)
def test_tfx_finds_the_same(place: pathlib.Path, pattern: str) -> None:
    # TFX fails where there is something else than the pattern means; ours passes it over.
    (place / "a/seven/x.zip").unlink()
    (place / "d/12345.zip").unlink()
    split = example_gen_pb2.Input.Split(name="s", pattern=pattern)
    _, span, version = tfx_utils.calculate_splits_fingerprint_span_and_version(
        str(place), [split]
    )
    (ours,) = spans.resolve(place / pattern)
    assert (ours.span, ours.version) == (span, version)
    assert ours.path == place / split.pattern


def test_dates_are_numbered_as_in_tfx(place: pathlib.Path) -> None:
    found = spans.find(place / "c/{YYYY}-{MM}-{DD}/images.zip")
    assert [data.span for data in found] == [
        tfx_utils.date_to_span_number(2026, 11, 25),
        tfx_utils.date_to_span_number(2026, 11, 26),
    ]
    assert [data.name for data in found] == ["span 2026-11-25", "span 2026-11-26"]


@pytest.mark.parametrize(
    ("pattern", "fault"),
    [
        ("{SPAN}/{YYYY}-{MM}-{DD}", "a number and a date at once"),
        ("{SPAN}/{SPAN:3}", "a token appears twice"),
        ("{VERSION}", "a version without a span"),
        ("{YYYY}-{MM}", "an incomplete date"),
        ("{YYYY}-{MM}-{DD}-{DD}", "a token appears twice"),
        ("{SPAN:0}", "a width of 0"),
    ],
)
def test_patterns_that_tfx_refuses_too(pattern: str, fault: str) -> None:
    with pytest.raises(ConfigError, match=fault):
        spans.find(pattern)
    split = example_gen_pb2.Input.Split(name="s", pattern=pattern)
    with pytest.raises(ValueError):
        tfx_utils.verify_split_pattern_specs(split)
        tfx_utils._get_spec_width(tfx_utils.SPAN_FULL_REGEX, "span", split)


def test_a_window_is_the_newest_spans_in_their_newest_versions(
    place: pathlib.Path,
) -> None:
    pattern = place / "b/span-{SPAN}/v{VERSION}.zip"
    assert spans.pin(spans.resolve(pattern, window=2)) == "2.11 3.10"
    assert spans.pin(spans.resolve(pattern, window=9)) == "2.11 3.10"
    assert spans.pin(spans.resolve(pattern, window=2, last=2)) == "2.11"


def test_a_span_that_is_not_there_is_named_with_those_that_are(
    place: pathlib.Path,
) -> None:
    pattern = place / "a/{SPAN}/x.zip"
    with pytest.raises(DataError, match="no span 9 of ") as caught:
        spans.resolve(pattern, last=9)
    assert caught.value.found == "3 there, span 1, span 2, span 10"
    with pytest.raises(DataError, match=r"span 9 of .* is gone"):
        spans.pinned(pattern, "10 9")


def test_nothing_matches(place: pathlib.Path) -> None:
    with pytest.raises(DataError, match="no span matches ") as caught:
        spans.resolve(place / "a/{SPAN:4}")
    assert str(place / "a/{SPAN:4}") in caught.value.message
    assert caught.value.found == f"in {place / 'a'}: 02/, 1/, 10/, seven/"
    with pytest.raises(DataError) as caught:
        spans.resolve(place / "nowhere/{SPAN}")
    assert caught.value.found == f"there is no folder {place / 'nowhere'}"


def test_one_span_at_two_paths_is_refused(place: pathlib.Path) -> None:
    (place / "a/2").mkdir()
    with pytest.raises(DataError, match=r"span 2 of .* exists twice") as caught:
        spans.find(place / "a/{SPAN}")
    assert caught.value.found == "02 and 2"


def test_a_plain_path_is_its_own_data_set(tmp_path: pathlib.Path) -> None:
    (found,) = spans.resolve(tmp_path / "not there")
    assert found == spans.DataSet(tmp_path / "not there")
    assert found.name == "" and spans.pin([found]) == ""

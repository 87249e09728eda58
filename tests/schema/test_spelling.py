import pytest

from common.errors import DataError
from schema import spelling

NFC, NFD = "caf\u00e9", "cafe\u0301"


@pytest.mark.parametrize("name", [NFC, NFD])
def test_there_is_one_form(name):
    assert spelling.normalise(name) == NFC


@pytest.mark.parametrize(
    ("first", "second", "found"),
    [
        ("Cat", "cat", "'Cat' and 'cat'"),
        ("cat ", "cat", "'cat ' and 'cat'"),
        (NFC, NFD, "(c a f U+00E9) and"),
        ("fish", "\ufb01sh", "(U+FB01 s h)"),
        ("\u0430nt", "ant", "(U+0430 n t)"),
        ("ca\u200bt", "cat", "(c a U+200B t)"),
        ("ant\ufe0f", "ant", "(a n t U+FE0F)"),
    ],
)
def test_look_alikes_are_told_by_their_code_points(first, second, found):
    with pytest.raises(DataError) as caught:
        spelling.check_classes(["dog", first, second])
    assert found in caught.value.found


@pytest.mark.parametrize(
    "labels",
    [
        ("A", "a", "\u0410"),
        ("cafe", NFC),
        ("1", "01"),
        ("\u0915\u093f", "\u0915\u0941", "\u0915"),  # Hindi vowels are marks
    ],
)
def test_what_people_can_tell_apart_is_let_pass(labels):
    spelling.check_classes(labels)

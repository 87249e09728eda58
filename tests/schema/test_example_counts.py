"""Examples that were read against those that were ingested."""

import pytest

from common.errors import DataError
from schema import example_counts


@pytest.mark.parametrize(
    ("read", "ingested"),
    [
        ({"cat": 3, "dog": 4}, {"dog": 4, "cat": 3}),
        ({"cat": 3, "dog": 0}, {"cat": 3}),
        ({"cat": 3}, {}),  # nobody counted
    ],
)
def test_equal_numbers_pass(read: dict, ingested: dict) -> None:
    example_counts.refuse_difference("train", read, ingested)


def test_a_difference_names_split_numbers_and_classes() -> None:
    with pytest.raises(DataError) as caught:
        example_counts.refuse_difference(
            "train", {"cat": 3, "dog": 1_012}, {"cat": 3, "dog": 1_349, "newt": 2}
        )
    assert (
        caught.value.message == "1,354 examples of train were ingested, 1,015 were read"
    )
    assert caught.value.found == "class 'dog': 1,012 of 1,349, class 'newt': 0 of 2"


def test_an_exchange_between_classes_is_a_difference() -> None:
    with pytest.raises(DataError, match="and 2 more"):
        example_counts.refuse_difference(
            "test", dict.fromkeys("abcde", 2), dict.fromkeys("abcde", 1)
        )

"""Class names that stand inside of files with many images."""

import unicodedata

import pytest

from common.errors import DataError
from components.image_example_gen.layouts import containers

NAMES = ("café", unicodedata.normalize("NFD", "thé"))


@pytest.mark.parametrize(
    ("label", "names", "expected"),
    [
        (unicodedata.normalize("NFD", "café"), (), "café"),
        (7, (), "7"),
        (1, NAMES, "thé"),
    ],
)
def test_names_are_in_nfc(label, names, expected):
    assert containers.class_of("a.parquet", label, names) == expected


@pytest.mark.parametrize("label", [-1, 2, "café"])
def test_a_number_without_a_name_is_refused(label):
    with pytest.raises(DataError, match=f"class number {label}") as info:
        containers.class_of("a.tfrecord#0", label, NAMES, "labels.txt")
    assert info.value.expected == "0 to 1, as labels.txt lists"

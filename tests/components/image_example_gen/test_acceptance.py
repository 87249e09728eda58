"""What is said of data before they are trained on."""

import types

import pytest

from components.image_example_gen import acceptance

GOOD = {
    "few_groups": {},
    "unreadable": (),
    "duplicates_across_splits": 0,
    "label_conflicts": 0,
}
SPLIT = {
    "train": {"ant": 9, "bee": 9},
    "eval": {"ant": 2, "bee": 2},
    "test": {"ant": 2, "bee": 2},
}


def data(images, labels, **changes):
    """What an inspection says of data."""
    facts = {"images": images, "labels": labels, **GOOD, **changes}
    return types.SimpleNamespace(**facts)


@pytest.mark.parametrize(
    ("images", "labels", "changes", "said"),
    [
        ({"all": {"ant": 9}}, ("ant",), {}, "one class only"),
        ({"all": {"ant": 9, "owl": 2}}, ("ant", "owl"), {}, "never tested: owl"),
        (SPLIT | {"test": {"ant": 2}}, ("ant", "bee"), {}, "test has no image of bee"),
        (
            SPLIT | {"train": {"bee": 9}},
            ("ant", "bee"),
            {},
            "train has no image of ant",
        ),
        ({"test": {"ant": 3, "bee": 3}}, ("ant", "bee"), {}, "no images to train on"),
        (
            SPLIT,
            ("ant", "bee"),
            {"unreadable": ("a", "b", "c")},
            "10.3% of the images are unreadable",
        ),
        (SPLIT, ("ant", "bee"), {"duplicates_across_splits": 2}, "2 copies lie in two"),
        (SPLIT, ("ant", "bee"), {"label_conflicts": 1}, "1 images have copies"),
        ({"all": {"ant": 9, " ": 9}}, ("ant", " "), {}, "no contract can name these"),
    ],
)
def test_troubles(images, labels, changes, said):
    told = acceptance.troubles(data(images, labels, **changes))
    assert len(told) == 1
    assert said in told[0]


def test_nothing_is_said_of_good_data():
    assert acceptance.troubles(data(SPLIT, ("ant", "bee"))) == ()
    assert (
        acceptance.troubles(data({"all": {"ant": 9, "bee": 3}}, ("ant", "bee"))) == ()
    )

import pytest

from common import errors
from trainer import lookup

TABLE = {"resnet_20": 1, "resnet_32": 2, "vgg_16": 3}


def test_finds():
    assert lookup.find_by_name(TABLE, "vgg_16", "net") == 3


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("resnet_2O", "resnet_20"),
        ("resnet_33", "resnet_32"),
        ("vgg16", "vgg_16"),
        ("transformer", ""),
        ("", ""),
    ],
)
def test_nearest(name, near):
    assert lookup.nearest(name, TABLE) == near


def test_message():
    with pytest.raises(errors.ConfigError) as info:
        lookup.find_by_name(TABLE, "vgg_61", "net")
    assert str(info.value) == (
        "unknown net 'vgg_61'\n"
        "  expected: one of resnet_20, resnet_32, vgg_16\n"
        "  tip: did you mean 'vgg_16'?"
    )


def test_empty_table():
    assert lookup.nearest("vgg_16", {}) == ""

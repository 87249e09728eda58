"""Groups of variables by name, and what each group's settings do to them."""

import pytest

from trainer import variable_groups
from trainer.config import TrainConfig

NAMES = [
    "net/stem/weights",
    "net/stem/biases",
    "net/stem/BatchNorm/beta",
    "net/group1/unit1/conv/weights",
    "net/group1/unit1/conv/biases",
    "net/group1/unit2/BatchNorm/gamma",
    "net/logits/weights",
    "net/logits/biases",
]


def test_a_variable_is_in_one_group():
    groups = [variable_groups.group_of(name, "stem") for name in NAMES]
    assert groups == (
        ["first", "first", "norm", "body", "body", "norm", "head", "head"]
    )


def test_the_class_layer_of_a_net_of_one_row_is_the_head():
    assert variable_groups.group_of("net/logits/weights", "logits") == "head"


def test_rate_factors_of_groups():
    train = TrainConfig(norm_rate_factor=64, head_rate_factor=2, first_rate_factor=0.5)
    factors = variable_groups.rate_factors(NAMES, "stem", train)
    assert list(factors.values()) == [0.5, 0.5, 64, 1, 1, 64, 2, 2]


def test_they_multiply_with_the_factors_of_rows():
    train = TrainConfig(norm_rate_factor=64, head_rate_factor=2, layer_rate_decay=0.5)
    factors = variable_groups.rate_factors(NAMES, "stem", train)
    assert list(factors.values()) == [0.25, 0.25, 16, 0.5, 0.5, 32, 2, 2]


def test_a_first_row_with_frozen_weights_has_its_bias():
    """The rows that train begin with its bias: the next row is not the first."""
    train = TrainConfig(first_rate_factor=0.5, bias_decay_factor=3)
    names = [name for name in NAMES if name != "net/stem/weights"]
    assert variable_groups.rate_factors(names, "stem", train)["net/stem/biases"] == 0.5
    decays = variable_groups.decay_factors(names, set(), "stem", train)
    assert decays["net/stem/biases"] == 3
    # Nothing of the first row trains: no other row takes its place.
    names = [name for name in names if "/stem/" not in name]
    assert set(variable_groups.rate_factors(names, "stem", train).values()) == {1.0}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, [1, 0, 0, 1, 0, 0, 1, 0]),
        ({"norm_decay_factor": 3}, [1, 0, 3, 1, 0, 3, 1, 0]),
        (
            {"bias_decay_factor": 2, "first_decay_factor": 0.5, "head_decay_factor": 0},
            [0.5, 1, 0, 1, 2, 0, 0, 0],
        ),
    ],
)
def test_decay_factors_of_groups(changes, expected):
    regularised = {name for name in NAMES if name.endswith("/weights")}
    factors = variable_groups.decay_factors(
        NAMES, regularised, "stem", TrainConfig(**changes)
    )
    assert [factors.get(name, 0) for name in NAMES] == expected
    assert 0 not in factors.values()


def test_weights_that_the_table_lets_be_do_not_decay():
    factors = variable_groups.decay_factors(NAMES, set(), "stem", TrainConfig())
    assert factors == {}

"""Errors that users see."""

import pickle

import pytest

from common import errors


@pytest.mark.parametrize(
    "kind", [errors.ConfigError, errors.DataError, errors.GateError, errors.InfraError]
)
def test_error_is_told_line_by_line_and_survives_pickling(kind):
    error = kind("no class folders in x", found="y", expected="z", tip="look")
    assert str(error) == "no class folders in x\n  found: y\n  expected: z\n  tip: look"
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is kind
    assert (again.message, again.found, again.expected, again.tip) == (
        error.message, "y", "z", "look",
    )  # fmt: skip


def test_empty_parts_are_left_out():
    assert (
        str(errors.DataError("nothing there", tip="look"))
        == "nothing there\n  tip: look"
    )


def test_data_and_config_errors_are_value_errors():
    assert issubclass(errors.DataError, ValueError)
    assert issubclass(errors.ConfigError, ValueError)

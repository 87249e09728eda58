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


def test_os_errors_become_errors_that_name_what_failed(tmp_path):
    missing = tmp_path / "none"
    with (
        pytest.raises(errors.DataError) as caught,
        errors.os_errors_as(errors.DataError, f"cannot read {missing}", tip="make it"),
    ):
        missing.read_bytes()

    assert caught.value.message == f"cannot read {missing}: No such file or directory"
    assert caught.value.tip == "make it"
    assert isinstance(caught.value.__cause__, FileNotFoundError)


def test_os_errors_without_a_system_reason_keep_their_text():
    with (
        pytest.raises(errors.ConfigError, match=r"^cannot read x: truncated$"),
        errors.os_errors_as(errors.ConfigError, "cannot read x"),
    ):
        raise OSError("truncated")


@pytest.mark.parametrize("is_hidden", [False, True])
def test_an_interrupt_stays_one_whoever_wraps_it(is_hidden: bool) -> None:
    with pytest.raises(KeyboardInterrupt), errors.interrupts_unwrapped():
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt as error:
            raise RuntimeError("a step failed") from (None if is_hidden else error)


def test_other_errors_are_left_as_they_are() -> None:
    with pytest.raises(RuntimeError, match="a step"), errors.interrupts_unwrapped():
        raise RuntimeError("a step failed") from ValueError()

"""Errors that a user can fix; the command shows them as sentences, without a stack.

They live in the lowest package so that every part can raise them; `slimline.errors` is
their public address. Their sentences name flags and commands; `str(error)`, which a traceback
shows, names the arguments and functions of the Python API instead, except in a command.
"""

import contextlib
import functools
from collections.abc import Iterator

from common import python_words

_is_command = False


@contextlib.contextmanager
def of_a_command() -> Iterator[None]:
    """Inside, `str(error)` names flags: a command is running, not code that imports us."""
    global _is_command
    before, _is_command = _is_command, True
    try:
        yield
    finally:
        _is_command = before


class SlimlineError(Exception):
    """Base of all errors that carry a cause, a finding and a next step.

    Attributes:
      message: cause and place in one line, lower case.
      found: what was there, or ''.
      expected: what should have been there, or ''.
      tip: what to do next, or ''.
    """

    def __init__(
        self, message: str, *, found: str = "", expected: str = "", tip: str = ""
    ):
        super().__init__(message, found, expected, tip)
        self.message = message
        self.found = found
        self.expected = expected
        self.tip = tip

    def __str__(self) -> str:
        lines = [self.message]
        for name in ("found", "expected", "tip"):
            if value := getattr(self, name):
                lines.append(f"  {name}: {value}")
        text = "\n".join(lines)
        return text if _is_command else python_words.in_python(text)

    def __reduce__(self) -> tuple:
        message, found, expected, tip = self.args
        facts = {"found": found, "expected": expected, "tip": tip}
        return functools.partial(type(self), message, **facts), ()


class ConfigError(SlimlineError, ValueError):
    """A setting, an experiment name or a path on the command line is wrong."""


class DataError(SlimlineError, ValueError):
    """The data are refused: unreadable, incomplete, or against their contract."""


class TrainError(SlimlineError, RuntimeError):
    """Training cannot go on, as with a loss that is not a number."""


class GateError(SlimlineError):
    """The gate refused the model."""


class InfraError(SlimlineError):
    """The model cannot be served as it was trained."""


class ServerError(SlimlineError, RuntimeError):
    """A model server gives no answer: it is down, busy, too slow or broken."""


@contextlib.contextmanager
def os_errors_as(
    kind: type[SlimlineError], message: str, *, expected: str = "", tip: str = ""
) -> Iterator[None]:
    """Inside, an OSError becomes an error of `kind`.

    Args:
      kind: class of the error that is raised.
      message: what failed, as "cannot write PATH"; the system's reason follows it.
      expected: as in `SlimlineError`.
      tip: as in `SlimlineError`.

    Raises:
      SlimlineError: of class `kind`, caused by the OSError.
    """
    try:
        yield
    except OSError as error:
        reason = error.strerror or error
        raise kind(f"{message}: {reason}", expected=expected, tip=tip) from error


@contextlib.contextmanager
def interrupts_unwrapped() -> Iterator[None]:
    """Inside, a KeyboardInterrupt that a framework wraps, as Beam does, stays one.

    Raises:
      KeyboardInterrupt: another error was raised because of one.
    """
    try:
        yield
    except Exception as error:
        causes = _causes(error, with_hidden=True)
        if any(isinstance(cause, KeyboardInterrupt) for cause in causes):
            raise KeyboardInterrupt from error
        raise


def find_user_error(error: BaseException | None) -> SlimlineError | None:
    """The error that a user can fix, from the causes of `error`: frameworks wrap it."""
    errors = (cause for cause in _causes(error) if isinstance(cause, SlimlineError))
    return next(errors, None)


def _causes(
    error: BaseException | None, *, with_hidden: bool = False
) -> Iterator[BaseException]:
    """An error, what it was raised from, and so on; `with_hidden` also through `from None`."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        yield error
        seen.add(id(error))
        hidden = error.__suppress_context__ and not with_hidden
        error = error.__cause__ or (None if hidden else error.__context__)

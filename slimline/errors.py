"""Errors that a user can fix, and the exit code of each."""

from common.errors import (  # noqa: F401, this is their public address
    ConfigError,
    DataError,
    GateError,
    InfraError,
    ServerError,
    SlimlineError,
    TrainError,
    find_user_error,
    of_a_command,
)

DONE = 0
RUN_FAILED = 1
USAGE_WRONG = 2
GATE_REFUSED = 3
DATA_REFUSED = 4
SERVED_MODEL_FAILED = 5
TEMPORARILY_FAILED = 75  # EX_TEMPFAIL of sysexits.h
INTERRUPTED = 130
TERMINATED = 143

_CODES: dict[type[SlimlineError], int] = {
    ConfigError: USAGE_WRONG,
    GateError: GATE_REFUSED,
    DataError: DATA_REFUSED,
    InfraError: SERVED_MODEL_FAILED,
}


class RunError(SlimlineError):
    """A run failed for a reason that no message of ours explains.

    Attributes:
      log_lines: the last lines of the run's log.
    """

    log_lines: tuple[str, ...] = ()


def exit_code(error: BaseException) -> int:
    """Exit code of the command that `error` ends."""
    for kind_of_error, code in _CODES.items():
        if isinstance(error, kind_of_error):
            return code
    return RUN_FAILED


def kind(error: BaseException) -> str:
    """One word for the error in JSON: config, data, gate, infra, server, train, run."""
    name = type(error).__name__
    is_ours = isinstance(error, SlimlineError)
    return name.removesuffix("Error").lower() if is_ours else "unexpected"

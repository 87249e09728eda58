"""What surrounds a run: its log, its events for a listener, and the errors that end it."""

import contextlib
import logging
import pathlib
import shutil
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from pipeline.beam import engines
from pipeline.runs import remote_roots, runs
from pipeline.settings import Resolved
from slimline import errors

Listener = Callable[[str, Mapping[str, Any]], None]
PROGRESS_LOGGER = "slimline.progress"
LOG_LINES = 15
MAX_CHARACTERS = 300
STACK_HEADING = "stack of what ended the run:"
_LOGGER = logging.getLogger("slimline")


@contextlib.contextmanager
def prepared(
    resolved: Resolved,
    folder: pathlib.Path,
    listener: Listener | None,
    *,
    logs_everything: bool = False,
) -> Iterator[None]:
    """Logs and reports what runs inside, with the engine started.

    The block may import TensorFlow. A run that is refused before its first component
    leaves no folder.

    Args:
      resolved, folder: of the run or sweep.
      listener: called with name and fields of each progress event.
      logs_everything: the log takes all of Python's logging, not only that of slimline.

    Raises:
      SlimlineError: what the user can fix, also where a framework wrapped it.
    """
    events: set[str] = set()

    def listen(name: str, fields: Mapping[str, Any]) -> None:
        events.add(name)
        if listener is not None:
            listener(name, fields)

    with remote_roots.brought_back(folder):
        try:
            with (
                watched(folder, listen, logs_everything),
                engines.started(resolved.config.engine),
            ):
                yield
        except errors.SlimlineError:
            if "component_started" not in events:
                shutil.rmtree(folder, ignore_errors=True)
            raise


@contextlib.contextmanager
def watched(
    folder: pathlib.Path, listener: Listener, logs_everything: bool
) -> Iterator[None]:
    """Logs into the folder of a run, hands its events on, and unwraps what ends it."""
    log = folder / runs.LOG_FILE
    progress = logging.getLogger(PROGRESS_LOGGER)
    with (
        _logging_to(log, logs_everything),
        handled(_Forward(listener), progress),
        _no_arguments(),
    ):
        try:
            yield
        except BaseException as error:
            with log.open("a", encoding="utf-8") as file:
                file.write(f"{STACK_HEADING}\n")
                traceback.print_exception(error, file=file)
            user_error = errors.find_user_error(error)
            if user_error is not None and user_error is not error:
                raise user_error from error
            raise


@contextlib.contextmanager
def as_run_error(
    message: Callable[[], str], log: pathlib.Path, **more: str
) -> Iterator[None]:
    """Turns an error that is no SlimlineError into a RunError with the end of `log`.

    Args:
      message: gives what failed, the beginning of the sentence.
      log: what the libraries wrote.
      more: `found` and `tip` of the error.
    """
    try:
        yield
    except errors.SlimlineError:
        raise
    except Exception as error:
        first_line = (str(error).strip() or "no message").splitlines()[0]
        reason = f"{type(error).__name__}: {first_line[:MAX_CHARACTERS]}"
        broken = errors.RunError(f"{message()}: {reason}", **more)
        broken.log_lines = _last_lines(log)
        raise broken from error


def _last_lines(log: pathlib.Path) -> tuple[str, ...]:
    """The last lines of a log that are not empty, before the stack that `watched` adds."""
    try:
        text = log.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ()
    text = text.rpartition(f"{STACK_HEADING}\n")[0] or text
    # A carriage return would overwrite a line of the terminal.
    lines = [line for line in text.replace("\r", "\n").split("\n") if line.strip()]
    return tuple(lines[-LOG_LINES:])


@contextlib.contextmanager
def handled(
    handler: logging.Handler, logger: logging.Logger = _LOGGER
) -> Iterator[None]:
    """Hands what `logger` gets to `handler`; slimline logs from INFO up meanwhile."""
    level = _LOGGER.level
    _LOGGER.setLevel(min(level or logging.INFO, logging.INFO))
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        _LOGGER.setLevel(level)


@contextlib.contextmanager
def _logging_to(log: pathlib.Path, is_everything: bool) -> Iterator[None]:
    formatter = logging.Formatter(
        "%(asctime)s %(levelname)s %(name)s: %(message)s%(details)s"
    )
    formatter.converter = time.gmtime
    handler = logging.FileHandler(log, encoding="utf-8")
    handler.setFormatter(formatter)
    handler.addFilter(_add_details)
    with contextlib.ExitStack() as stack:
        stack.callback(handler.close)
        if is_everything:
            # absl registers its own kind of logger, so it has to be asked, not `logging`.
            from absl import logging as absl_logging

            stack.enter_context(handled(handler, logging.getLogger()))
            absl_logging.set_verbosity(absl_logging.INFO)
        else:
            as_before = _AsBefore(_LOGGER.getEffectiveLevel())
            stack.enter_context(handled(handler))
            stack.enter_context(handled(as_before))
            stack.callback(setattr, _LOGGER, "propagate", _LOGGER.propagate)
            _LOGGER.propagate = False
        yield


class _AsBefore(logging.Handler):
    """Hands on what the program's own handlers would get without the log of the run."""

    def emit(self, record: logging.LogRecord) -> None:
        """See base class."""
        if _LOGGER.parent is not None:
            _LOGGER.parent.callHandlers(record)


def _add_details(record: logging.LogRecord) -> bool:
    fields = getattr(record, "fields", None) or {}
    record.details = "".join(f" {key}={value}" for key, value in fields.items())
    return True


@contextlib.contextmanager
def _no_arguments() -> Iterator[None]:
    """Hides the command line: TFX's Beam executors parse sys.argv as flags of their own.

    A -v of ours was their --verbosity. See tfx.dsl.components.base.base_beam_executor.
    """
    arguments = sys.argv
    sys.argv = arguments[:1]
    try:
        yield
    finally:
        sys.argv = arguments


class _Forward(logging.Handler):
    """Hands the events of the run to a listener; its mistakes do not end the run."""

    def __init__(self, listener: Listener):
        super().__init__()
        self._listener = listener

    def emit(self, record: logging.LogRecord) -> None:
        """See base class."""
        try:
            self._listener(record.getMessage(), getattr(record, "fields", {}))
        except Exception:  # as every handler of `logging` does
            self.handleError(record)

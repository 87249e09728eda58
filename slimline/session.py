"""One run from outside: early checks, its log, and its events handed to a listener."""

import contextlib
import logging
import pathlib
import shutil
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from pipeline.beam import engines
from pipeline.runs import parts, remote_roots, runs
from pipeline.settings import Resolved
from slimline import errors

if TYPE_CHECKING:
    from pipeline.config import PipelineConfig
    from pipeline.runs.summary import Summary
    from pipeline.sweeps.comparison import Row

Listener = Callable[[str, Mapping[str, Any]], None]
PROGRESS_LOGGER = "slimline.progress"
LOG_LINES = 15
STACK_HEADING = "stack of what ended the run:"
_LOGGER = logging.getLogger("slimline")


def execute(
    resolved: Resolved,
    root: pathlib.Path,
    folder: pathlib.Path,
    *,
    listener: Listener | None = None,
    logs_everything: bool = False,
    use_cache: bool = True,
) -> "Summary":
    """Runs the pipeline; whatever ends it is written into the run's log with its stack.

    Args:
      resolved: configuration and origins.
      root: folder of the runs.
      folder: of this run.
      listener: called with name and fields of each progress event.
      logs_everything: the log takes all of Python's logging, not only that of slimline.
      use_cache: False runs every component again.

    Raises:
      SlimlineError: what the user can mend, also where a framework wrapped it.
    """
    with _prepared(resolved, folder, listener, logs_everything):
        from pipeline import execution

        return execution.run(
            resolved.config,
            root=root,
            run_folder=folder,
            origins=resolved.origins,
            use_cache=use_cache,
        )


def execute_part(
    part: parts.Part,
    resolved: Resolved,
    root: pathlib.Path,
    folder: pathlib.Path,
    *,
    listener: Listener | None = None,
    logs_everything: bool = False,
    use_cache: bool = True,
) -> "Summary | parts.Outcome":
    """Runs some components; the other arguments are those of `execute`.

    Raises:
      SlimlineError: what the user can mend, also where a framework wrapped it.
    """
    with _prepared(resolved, folder, listener, logs_everything):
        from pipeline import execution

        return execution.run_part(
            resolved.config,
            part,
            root=root,
            run_folder=folder,
            origins=resolved.origins,
            use_cache=use_cache,
        )


def execute_sweep(
    members: "Mapping[str, PipelineConfig]",
    resolved: Resolved,
    root: pathlib.Path,
    folder: pathlib.Path,
    *,
    listener: Listener | None = None,
    logs_everything: bool = False,
    use_cache: bool = True,
) -> "list[Row]":
    """Runs the members of a sweep; the other arguments are those of `execute`.

    Raises:
      SlimlineError: what the user can mend, also where a framework wrapped it.
    """
    with _prepared(resolved, folder, listener, logs_everything):
        from pipeline.sweeps import execution as sweep_execution

        return sweep_execution.run(
            members,
            root=root,
            run_folder=folder,
            origins=resolved.origins,
            use_cache=use_cache,
        )


@contextlib.contextmanager
def _prepared(
    resolved: Resolved,
    folder: pathlib.Path,
    listener: Listener | None,
    logs_everything: bool,
) -> Iterator[None]:
    """The log is in place, and the engine starts: TensorFlow may load meanwhile.

    A run that is refused before its first component leaves no folder: nothing has run.
    """
    heard: set[str] = set()

    def listen(name: str, fields: Mapping[str, Any]) -> None:
        heard.add(name)
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
            if "component_started" not in heard:
                shutil.rmtree(folder, ignore_errors=True)
            raise


@contextlib.contextmanager
def watched(
    folder: pathlib.Path, listener: Listener | None, logs_everything: bool
) -> Iterator[None]:
    """Logs into the folder of a run, hands its events on, and unwraps what ends it."""
    log = folder / runs.LOG_FILE
    with _logging_to(log, logs_everything), _heard_by(listener), _no_arguments():
        try:
            yield
        except BaseException as error:
            with log.open("a", encoding="utf-8") as file:
                file.write(f"{STACK_HEADING}\n")
                traceback.print_exception(error, file=file)
            mendable = errors.find_user_error(error)
            if mendable is not None and mendable is not error:
                raise mendable from error
            raise


def last_lines(log: pathlib.Path, count: int = LOG_LINES) -> tuple[str, ...]:
    """The last lines of a log that are not empty, before the stack that `execute` adds."""
    try:
        text = log.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ()
    text = text.rpartition(f"{STACK_HEADING}\n")[0] or text
    # A carriage return would draw over what stands on the terminal.
    lines = [line for line in text.replace("\r", "\n").split("\n") if line.strip()]
    return tuple(lines[-count:])


@contextlib.contextmanager
def _logging_to(log: pathlib.Path, is_everything: bool) -> Iterator[None]:
    formatter = logging.Formatter(
        "%(asctime)s %(levelname)s %(name)s: %(message)s%(details)s",
        defaults={"details": ""},
    )
    formatter.converter = time.gmtime
    handler = logging.FileHandler(log, encoding="utf-8")
    handler.setFormatter(formatter)
    handler.addFilter(_add_details)
    target = logging.getLogger() if is_everything else _LOGGER
    level, was_propagated = _LOGGER.level, _LOGGER.propagate
    others = _AsBefore(_LOGGER.getEffectiveLevel())
    target.addHandler(handler)
    if not is_everything:
        _LOGGER.addHandler(others)
        _LOGGER.propagate = False
    _LOGGER.setLevel(min(level or logging.INFO, logging.INFO))
    if is_everything:
        # absl registers its own kind of logger, so it has to be asked, not `logging`.
        from absl import logging as absl_logging

        absl_logging.set_verbosity(absl_logging.INFO)
    try:
        yield
    finally:
        _LOGGER.setLevel(level)
        _LOGGER.propagate = was_propagated
        _LOGGER.removeHandler(others)
        target.removeHandler(handler)
        handler.close()


class _AsBefore(logging.Handler):
    """Hands on what the program's own handlers would get without the log of the run."""

    def emit(self, record: logging.LogRecord) -> None:
        """See base class."""
        if _LOGGER.parent is not None:
            _LOGGER.parent.callHandlers(record)


def _add_details(record: logging.LogRecord) -> bool:
    fields = getattr(record, "fields", None)
    if fields:
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


@contextlib.contextmanager
def _heard_by(listener: Listener | None) -> Iterator[None]:
    if listener is None:
        yield
        return
    logger = logging.getLogger(PROGRESS_LOGGER)
    handler = _Forward(listener)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)

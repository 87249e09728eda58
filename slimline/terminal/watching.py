"""A run on the terminal: libraries silenced, events drawn, a breakdown told in words."""

import contextlib
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

from pipeline.runs import runs
from pipeline.settings import Resolved
from slimline import capture, errors, session
from slimline.terminal import display, machine


@contextlib.contextmanager
def shown(
    folder: pathlib.Path,
    resolved: Resolved,
    *,
    is_plain: bool,
    is_verbose: bool,
) -> Iterator[session.Listener]:
    """Shows what runs inside, and sends what libraries print to the log of the run.

    Args:
      folder: of the run.
      resolved: its configuration.
      is_plain: a time-stamped line an event.
      is_verbose: the log goes to standard error as well.

    Yields:
      The listener that takes the events.

    Raises:
      RunError: what ended the run is nothing that the user can read from a sentence.
    """
    log = folder / runs.LOG_FILE
    under_way: list[str] = []
    try:
        with (
            capture.capture(log, is_echoed=is_verbose) as terminal,
            display.open_display(terminal.stderr, is_plain=is_plain) as screen,
        ):
            screen.head(
                display.Heading(
                    versions=machine.describe(),
                    run=runs.two_words(folder),
                    folder=str(folder),
                    experiment=resolved.config.name,
                    changes=resolved.changes(),
                )
            )

            def listen(name: str, fields: Mapping[str, Any]) -> None:
                if name == "component_started":
                    under_way[:] = [fields["component"]]
                screen.event(name, fields)

            yield listen
    except errors.SlimlineError:
        raise
    except Exception as error:
        raise _broken_off(error, under_way, log) from error


def _broken_off(
    error: Exception, under_way: list[str], log: pathlib.Path
) -> errors.RunError:
    where = f" in {under_way[0]}" if under_way else ""
    first_line = (str(error).strip() or "no message").splitlines()[0]
    broken = errors.RunError(
        f"run failed{where}: {type(error).__name__}: {first_line[:300]}",
        found=f"the last lines of {log} are below",
        tip="--debug shows the stack; the log holds it too",
    )
    broken.log_lines = session.last_lines(log)
    return broken

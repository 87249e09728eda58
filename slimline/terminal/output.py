"""What a command prints: results to standard output, errors to standard error."""

import contextlib
import dataclasses
import json
import os
import pathlib
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, TextIO

import click

from common.errors import os_errors_as
from slimline import errors
from storage import mirror, remote

SCHEMA_VERSION = 1
# Where the options of a command are kept in click's context.
JSON = "slimline.json"
QUIET = "slimline.quiet"
_NOT_FAILED = (errors.DONE, errors.TEMPORARILY_FAILED)
_FALSE = ("", "0", "false", "no")
_ESCAPED = str.maketrans({"\n": r"\n", "\t": r"\t"})


@dataclasses.dataclass(frozen=True)
class Result:
    """What a command prints at its end.

    Attributes:
      text: for people.
      document: the same for programs; `show` adds the version of the schema.
      error: that ends the command after the result; in JSON both are one object.
      exit_code: of a result without an error.
    """

    text: str
    document: Mapping[str, Any]
    error: errors.SlimlineError | None = None
    exit_code: int = errors.DONE


def is_json() -> bool:
    """Whether the command that runs was given --json."""
    return _is_set(JSON)


def is_quiet() -> bool:
    """Whether the command that runs was given -q."""
    return _is_set(QUIET)


def _is_set(flag: str) -> bool:
    context = click.get_current_context(silent=True)
    return bool(context and context.meta.get(flag))


def note(text: str) -> None:
    """Prints a line for people to standard error; nothing with --json or -q."""
    if not (is_json() or is_quiet()):
        click.echo(text, err=True)


def show(result: Result) -> int:
    """Prints a result to standard output: as JSON, as text, or nothing with -q.

    With -q a failure is still printed.

    Returns:
      The exit code.

    Raises:
      SlimlineError: the result's error, for `main` to show; not with --json.
    """
    error, document = result.error, result.document
    if is_json():
        if error:
            document = {**document, "error": error_document(error)}
        click.echo(json.dumps({"schema_version": SCHEMA_VERSION, **document}))
    elif not is_quiet() or result.exit_code not in _NOT_FAILED:
        click.echo(printable(result.text))
    if error is None:
        return result.exit_code
    if not is_json():
        raise error
    show_error(error)
    return errors.exit_code(error)


@contextlib.contextmanager
def writing(path: pathlib.Path) -> Iterator[None]:
    """Turns an OSError into a ConfigError that names the file to write."""
    with os_errors_as(errors.ConfigError, f"cannot write {path}"):
        yield


def check_agreed(action: str, *, is_sure: bool) -> None:
    """Asks on a terminal whether to do what cannot be undone; a no ends the command.

    Args:
      action: what would be done, beginning with a verb that ends in e: 'delete version 5'.
      is_sure: --yes; nothing is asked.

    Raises:
      ConfigError: there is no terminal to ask on.
      click.exceptions.Exit: the answer is no.
    """
    if is_sure:
        return
    if not sys.stdin.isatty():
        raise errors.ConfigError(f"this would {action}", tip="--yes does it unasked")
    if not click.confirm(f"{action}?", err=True):
        click.echo(f"nothing was {action.split()[0]}d", err=True)
        raise click.exceptions.Exit(errors.INTERRUPTED)


def error_document(error: BaseException) -> dict[str, Any]:
    """An error as JSON."""
    document: dict[str, Any] = {
        "kind": errors.kind(error),
        "message": _message(error),
        "exit_code": errors.exit_code(error),
    }
    return document | _details(error)


def _details(error: BaseException) -> dict[str, str]:
    values = {name: getattr(error, name, "") for name in ("found", "expected", "tip")}
    return {name: value for name, value in values.items() if value}


def show_error(error: BaseException) -> None:
    """Prints an error as sentences to standard error."""
    lines = [f"{paint('error:', 'red', sys.stderr)} {printable(_message(error))}"]
    for name, value in _details(error).items():
        lines.append(printable(f"  {name}: {value}"))
    if isinstance(error, errors.RunError):
        lines.extend(printable(f"  | {line}") for line in error.log_lines)
    click.echo("\n".join(lines), err=True)


def printable(text: str) -> str:
    """`text` with control characters escaped: names in data must not steer the terminal."""
    return "".join(
        character
        if character.isprintable() or character in "\n\t"
        else character.encode("unicode_escape").decode("ascii")
        for character in text
    )


def one_line(text: str) -> str:
    """`text` with line breaks and tabs escaped, as names of files and classes may hold them."""
    return text.translate(_ESCAPED)


def columns(rows: Sequence[Sequence[str]], numbers: Collection[str] = ()) -> str:
    """Rows as text in columns two spaces apart.

    Columns whose heading, in the first row, is one of `numbers` are aligned right.
    """
    rows = [[one_line(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    aligned = [str.rjust if name in numbers else str.ljust for name in rows[0]]
    return "\n".join(
        "  ".join(
            align(cell, width)
            for align, cell, width in zip(aligned, row, widths, strict=True)
        ).rstrip()
        for row in rows
    )


def table(rows: Sequence[Mapping[str, str]], numbers: Collection[str] = ()) -> str:
    """Rows as `columns`, with their keys as headings; '' without rows."""
    return (
        columns([[*rows[0]], *([*row.values()] for row in rows)], numbers)
        if rows
        else ""
    )


def facts(values: Mapping[str, str], width: int = 10, indent: str = "") -> list[str]:
    """A line a value: its label, padded to `width`, and its text; without empty texts."""
    return [f"{indent}{label:<{width}}{text}" for label, text in values.items() if text]


def duration(seconds: float) -> str:
    """'0:21', '23:07', '1:02:03'."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def is_live(stream: TextIO) -> bool:
    """Whether lines may be redrawn: on a terminal that can, and not under CI."""
    return (
        stream.isatty()
        and os.environ.get("TERM") != "dumb"
        and os.environ.get("CI", "").lower() in _FALSE
    )


def has_colour(stream: TextIO) -> bool:
    """Whether to colour: NO_COLOR and FORCE_COLOR decide, else a terminal that can."""
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR", "").lower() not in _FALSE:
        return True
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def paint(text: str, colour: str, stream: TextIO | None = None) -> str:
    """`text` in `colour` where the stream, standard output by default, takes colours."""
    is_painted = has_colour(stream or sys.stdout)
    return click.style(text, fg=colour, bold=True) if is_painted else text


def _message(error: BaseException) -> str:
    if isinstance(error, errors.SlimlineError):
        return error.message
    return f"unexpected {type(error).__name__}: {error}"


def short_place(path: str) -> str:
    """As `short_path`; the URI where `path` belongs to a root in an object store."""
    shown = mirror.shown(path)
    return shown if remote.is_uri(shown) else short_path(path)


def short_path(path: str) -> str:
    """`path` as a person types it: relative where it is below the working folder."""
    relative = os.path.relpath(path)
    return path if relative.startswith("..") else relative

"""What a command prints: results to standard output, errors to standard error."""

import contextlib
import json
import os
import pathlib
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, TextIO

import click

from slimline import errors
from storage import mirror, remote

SCHEMA_VERSION = 1
_FALSE = ("", "0", "false", "no")
_ESCAPED = str.maketrans({"\n": r"\n", "\t": r"\t"})


def emit(
    text: str, document: Mapping[str, Any], *, is_json: bool, is_quiet: bool
) -> None:
    """Prints a result: `document` as JSON, `text`, or nothing."""
    if is_json:
        versioned = {"schema_version": SCHEMA_VERSION, **document}
        click.echo(json.dumps(versioned))
    elif not is_quiet:
        click.echo(printable(text))


@contextlib.contextmanager
def writing(path: pathlib.Path) -> Iterator[None]:
    """Turns a failure to write the file that a user named into a sentence."""
    try:
        yield
    except OSError as error:
        raise errors.ConfigError(
            f"cannot write {path}: {error.strerror or error}"
        ) from error


def emit_outcome(
    text: str,
    document: Mapping[str, Any],
    error: errors.SlimlineError | None,
    *,
    is_json: bool,
    is_quiet: bool,
) -> int:
    """Prints a result that may end in an error; in JSON both are one object.

    Returns:
      The exit code.

    Raises:
      SlimlineError: `error`, where the caller of the command is to show it.
    """
    if error and is_json:
        document = {**document, "error": error_document(error)}
    emit(text, document, is_json=is_json, is_quiet=is_quiet)
    if error is None:
        return errors.DONE
    if not is_json:
        raise error
    show_error(error)
    return errors.exit_code(error)


def error_document(error: BaseException) -> dict[str, Any]:
    """An error as JSON."""
    document: dict[str, Any] = {
        "kind": errors.kind(error),
        "message": _message(error),
        "exit_code": errors.exit_code(error),
    }
    for name in ("found", "expected", "tip"):
        if value := getattr(error, name, ""):
            document[name] = value
    return document


def show_error(error: BaseException) -> None:
    """Prints an error as sentences to standard error."""
    lines = [f"{paint('error:', 'red', sys.stderr)} {printable(_message(error))}"]
    for name in ("found", "expected", "tip"):
        if value := getattr(error, name, ""):
            lines.append(printable(f"  {name}: {value}"))
    if isinstance(error, errors.RunError):
        lines.extend(printable(f"  | {line}") for line in error.log_lines)
    click.echo("\n".join(lines), err=True)


def printable(text: str) -> str:
    """`text` with control characters escaped: names in data must not steer the terminal."""
    return "".join(
        sign
        if sign.isprintable() or sign in "\n\t"
        else sign.encode("unicode_escape").decode("ascii")
        for sign in text
    )


def one_line(text: str) -> str:
    """`text` with line breaks and tabs escaped, as names of files and classes may hold them."""
    return text.translate(_ESCAPED)


def columns(rows: Sequence[Sequence[str]], numbers: Collection[str] = ()) -> str:
    """Rows as text in columns two spaces apart; the last column runs free.

    Those whose heading in the first row is one of `numbers` are set to the right.
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


def duration(seconds: float) -> str:
    """'0:21', '23:07', '1:02:03'."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def is_live(stream: TextIO) -> bool:
    """Whether lines may be redrawn: a terminal that can, and no CI that records it."""
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


def paint(text: str, colour: str, stream: TextIO) -> str:
    """`text` in `colour` where the stream takes colours."""
    return click.style(text, fg=colour, bold=True) if has_colour(stream) else text


def _message(error: BaseException) -> str:
    if isinstance(error, errors.SlimlineError):
        return error.message
    return f"unexpected {type(error).__name__}: {error}"


def short_place(path: str) -> str:
    """As `short_path`, but the URI of what belongs to a root in an object store."""
    shown = mirror.shown(path)
    return shown if remote.is_uri(shown) else short_path(path)


def short_path(path: str) -> str:
    """Relative to the working folder where it lies below, as a person would type it."""
    relative = os.path.relpath(path)
    return path if relative.startswith("..") else relative

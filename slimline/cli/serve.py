"""slimline serve: the pushed models for other programs, on this machine."""

import asyncio
import contextlib
import datetime
import json
import logging
import pathlib
import sys
import traceback
from collections.abc import Iterable, Mapping
from typing import Any, TextIO

import click

from pushed_models import versions
from slimline import capture, errors, session
from slimline.terminal import options, output

# Looks at the folder for each look at the object store of a root: those cost money.
STORE_LOOKS = 10
_PORT = click.IntRange(0, 65_535)


@options.completes
def _complete_limits(context: click.Context) -> Iterable[str]:
    from serving.local_server import limits

    return [f"{name}=" for name in limits.describe()]


@click.command(short_help="Serve the pushed models on this machine.")
@options.root_option
@options.shown(
    "--host",
    default="127.0.0.1",
    help="Name or address to listen on. By default only this machine can connect; 0.0.0.0"
    " accepts every machine that can reach it, without authentication.",
)
@options.shown(
    "--rest-port",
    type=_PORT,
    default=8501,
    help="Port of REST and of the page; 0 takes a free one.",
)
@options.shown(
    "--grpc-port", type=_PORT, default=8500, help="Port of gRPC; 0 takes a free one."
)
@options.shown(
    "--max-batch-size",
    type=click.IntRange(min=1),
    default=32,
    help="Images that are answered together, at most.",
)
@options.shown(
    "--max-queue",
    type=click.IntRange(min=1),
    default=1024,
    help="Images that may wait for a version; beyond it requests are refused.",
)
@options.shown(
    "--poll-seconds",
    type=click.FloatRange(min=0.05),
    default=1.0,
    help="Time between two looks at the versions; ten times as long for a root in an"
    " object store.",
)
@click.option(
    "--allowed-host",
    "allowed_hosts",
    multiple=True,
    metavar="NAME",
    help="Another host name that requests may use; may be repeated.",
)
@click.option(
    "--limit",
    "assignments",
    multiple=True,
    metavar="NAME=VALUE",
    shell_complete=_complete_limits,
    help="Change a limit of the requests, as request_bytes=64M; may be repeated. All of"
    " them: docs/serving.md.",
)
@options.shown(
    "--grace-seconds",
    type=click.FloatRange(min=0),
    default=30.0,
    help="Time for requests in progress to finish when the server is stopped.",
)
@options.shown(
    "--sample-requests",
    "sample_share",
    type=click.FloatRange(min=0, max=1),
    default=0.0,
    metavar="SHARE",
    help="Keep the images of this share of the requests, with their predictions, in"
    " --sample-folder.",
)
@click.option(
    "--sample-folder",
    type=click.Path(file_okay=False, path_type=pathlib.Path),
    metavar="DIR",
    help="Folder for them, as TFRecords of Examples.",
)
@options.shown(
    "--sample-max",
    type=click.IntRange(min=1),
    default=10_000,
    metavar="N",
    help="Images to keep until the server stops, at most.",
)
@options.flag(
    "-v",
    "--verbose",
    "is_verbose",
    help="Show the output of TensorFlow and other libraries as well, and the stack of"
    " errors in requests.",
)
@options.output_options
def command(
    root: pathlib.Path,
    max_batch_size: int,
    max_queue: int,
    poll_seconds: float,
    assignments: tuple[str, ...],
    sample_share: float,
    sample_folder: pathlib.Path | None,
    is_verbose: bool,
    **given: Any,
) -> None:
    """Serve all models under --root to programs and browsers on this machine.

    REST and gRPC are those of TensorFlow Serving, which is for production
    (docs/serving.md). New versions are loaded, and damaged ones refused, while the server
    runs. Ctrl-C or SIGTERM ends it after the requests in progress. With --json each event is
    an object on a line of its own.
    """
    # `given`: the other fields of `ServerConfig`.
    if (sample_share > 0) != (sample_folder is not None):
        raise click.UsageError("--sample-requests and --sample-folder go together")
    if not root.is_dir():
        raise errors.ConfigError(
            f"no folder {root} with models",
            tip="slimline run trains a model and pushes it there; --root DIR looks elsewhere",
        )
    serving_folder = root / versions.SERVING_FOLDER
    output.note(f"loading models from {serving_folder} ...")
    with contextlib.ExitStack() as stack:
        terminal = capture.Terminal(sys.stdout, sys.stderr)
        if not is_verbose:
            terminal = stack.enter_context(capture.discard())
        # TensorFlow loads here.
        from pushed_models import mirrored_models
        from serving.local_server import limits, server

        config = server.ServerConfig(
            serving_folder=serving_folder,
            poll_seconds=poll_seconds,
            limits=limits.parse(
                [
                    f"max_batch_size={max_batch_size}",
                    f"max_queue={max_queue}",
                    *assignments,
                ]
            ),
            sample_folder=sample_folder,
            sample_share=sample_share,
            **given,
        )
        with mirrored_models.followed(serving_folder, STORE_LOOKS * poll_seconds):
            printer = _EventPrinter(terminal, is_verbose=is_verbose)
            stack.enter_context(session.handled(printer))
            asyncio.run(server.run(config))


class _EventPrinter(logging.Handler):
    """Prints the server's events: the start to standard output, others to standard error."""

    def __init__(self, terminal: capture.Terminal, *, is_verbose: bool):
        super().__init__(logging.INFO)
        self._terminal = terminal
        self._is_verbose = is_verbose
        # Now, because threads that log have no context of click.
        self._is_json = output.is_json()
        self._is_quiet = output.is_quiet()

    def emit(self, record: logging.LogRecord) -> None:
        """See base class; a record without fields is an event 'log'."""
        try:
            if fields := getattr(record, "fields", None):
                self.show(record.msg, fields)
                return
            fields = {"level": record.levelname.lower(), "text": record.getMessage()}
            if record.exc_info and record.exc_info[1]:
                lines = traceback.format_exception(record.exc_info[1])
                fields["stack"] = "".join(lines).rstrip()
            self.show("log", fields)
        except Exception:  # as every handler of `logging` does
            self.handleError(record)

    def show(self, event: str, fields: Mapping[str, Any]) -> None:
        """Prints an event of `server.run`, or one of the log."""
        now = datetime.datetime.now(datetime.UTC)
        if self._is_json:
            document = {
                "schema_version": output.SCHEMA_VERSION,
                "time": now.isoformat(timespec="milliseconds"),
                "event": event,
                **fields,
            }
            _print(json.dumps(document), self._terminal.stdout)
        elif event == "started":
            if not self._is_quiet:
                _print(_started(fields), self._terminal.stdout)
        elif not self._is_quiet or fields.get("level") in ("warning", "error"):
            text = f"{now:%H:%M:%SZ} {_line(event, fields)}"
            if self._is_verbose and "stack" in fields:
                text += f"\n{fields['stack']}"
            _print(text, self._terminal.stderr)


def _print(text: str, stream: TextIO) -> None:
    click.echo(output.printable(text), file=stream)


def _line(event: str, fields: Mapping[str, Any]) -> str:
    if event == "stopping":
        seconds = fields["grace_seconds"]
        return f"stopping; requests in progress have {seconds:g} s, a second signal ends all"
    if event == "stopped":
        cut = f", {fields['cut_short']} cut short" if fields["cut_short"] else ""
        return f"stopped after {fields['requests']:,} requests{cut}"
    prefix = "! " if fields["level"] in ("warning", "error") else ""
    return f"{prefix}{fields['text']}"


def _started(fields: Mapping[str, Any]) -> str:
    models, rest = fields["models"], fields["rest"]
    lines = [_model_line(model) for model in models] or [
        "none yet: slimline run trains one and pushes it, and it is served at once"
    ]
    facts = {
        "models": f"\n{'':<10}".join(lines),
        "REST": f"http://{rest}/v1/models/{models[0]['name'] if models else 'NAME'}",
        "gRPC": fields["grpc"],
        "page": f"http://{rest}/",
        "stop": "Ctrl-C",
    }
    head = "slimline serve: for this machine; production is TF Serving: docs/serving.md"
    return "\n".join([head, *output.facts(facts, 8, "  ")])


def _model_line(model: Mapping[str, Any]) -> str:
    parts = [model["name"]]
    if model["answers"] is None:
        parts.append("no version answers")
    else:
        parts += [f"version {model['answers']}", f"{len(model['classes'])} classes"]
    parts += [f"{label} is {version}" for label, version in model["labels"].items()]
    parts += [
        f"version {entry['version']} refused: {entry['error']}"
        for entry in model["versions"]
        if entry["error"]
    ]
    return " · ".join(parts)

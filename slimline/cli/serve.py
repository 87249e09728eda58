"""slimline serve: the pushed models for other programs, on this machine."""

import asyncio
import contextlib
import datetime
import json
import logging
import pathlib
import sys
import traceback
from collections.abc import Iterator, Mapping
from typing import Any, TextIO

import click

from pushed_models import versions
from slimline import capture, errors
from slimline.terminal import options, output

# Looks at the folder for each look at the object store of a root: those cost money.
STORE_LOOKS = 10
_PORT = click.IntRange(0, 65_535)


def _complete_limits(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[str]:
    from serving.local_server import limits

    return [f"{name}=" for name in limits.describe() if name.startswith(incomplete)]


@click.command(short_help="Serve the pushed models on this machine.")
@options.root_option
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help="Name or address to listen on. By default only this machine gets through;"
    " 0.0.0.0 lets everybody in who can reach it, without any log-in.",
)
@click.option(
    "--rest-port",
    type=_PORT,
    default=8501,
    show_default=True,
    help="Port of REST and of the page; 0 takes a free one.",
)
@click.option(
    "--grpc-port",
    type=_PORT,
    default=8500,
    show_default=True,
    help="Port of gRPC; 0 takes a free one.",
)
@click.option(
    "--max-batch-size",
    type=click.IntRange(min=1),
    default=32,
    show_default=True,
    help="Images that are answered together, at most.",
)
@click.option(
    "--max-queue",
    type=click.IntRange(min=1),
    default=1024,
    show_default=True,
    help="Images that may wait for a version; beyond it requests are refused.",
)
@click.option(
    "--poll-seconds",
    type=click.FloatRange(min=0.05),
    default=1.0,
    show_default=True,
    help="From one look at the versions to the next; ten times as long for a root in an"
    " object store.",
)
@click.option(
    "--allowed-host",
    "allowed_hosts",
    multiple=True,
    metavar="NAME",
    help="Another name under which the server may be asked; may be repeated.",
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
@click.option(
    "--grace-seconds",
    type=click.FloatRange(min=0),
    default=30.0,
    show_default=True,
    help="That requests under way have when the server is told to stop.",
)
@click.option(
    "--sample-requests",
    "sample_share",
    type=click.FloatRange(min=0, max=1),
    default=0.0,
    show_default=True,
    metavar="SHARE",
    help="Keep the images of this share of the requests, with their predictions, in"
    " --sample-folder.",
)
@click.option(
    "--sample-folder",
    type=click.Path(file_okay=False, path_type=pathlib.Path),
    metavar="DIR",
    help="Where they are kept, as TFRecords of Examples.",
)
@click.option(
    "--sample-max",
    type=click.IntRange(min=1),
    default=10_000,
    show_default=True,
    metavar="N",
    help="Images that are kept until the server stops, at most.",
)
@click.option(
    "-v",
    "--verbose",
    "is_verbose",
    is_flag=True,
    help="Show what TensorFlow and other libraries write as well, and the stack of what"
    " broke while a request was answered.",
)
@options.output_options
def command(
    root: pathlib.Path,
    host: str,
    rest_port: int,
    grpc_port: int,
    max_batch_size: int,
    max_queue: int,
    poll_seconds: float,
    allowed_hosts: tuple[str, ...],
    assignments: tuple[str, ...],
    grace_seconds: float,
    sample_share: float,
    sample_folder: pathlib.Path | None,
    sample_max: int,
    is_verbose: bool,
) -> int:
    """Serve all models under --root to programs and browsers on this machine.

    REST and gRPC are those of TensorFlow Serving, which is for production
    (docs/serving.md). New versions are taken up, and damaged ones refused, while the server
    runs. Ctrl-C or SIGTERM ends it after the requests under way. With --json each event is
    an object on a line of its own.
    """
    if (sample_share > 0) != (sample_folder is not None):
        raise click.UsageError("--sample-requests and --sample-folder go together")
    if not root.is_dir():
        raise errors.ConfigError(
            f"no folder {root} with models",
            tip="slimline run trains a model and pushes it there; --root DIR looks elsewhere",
        )
    with contextlib.ExitStack() as stack:
        if is_verbose:
            terminal = capture.Terminal(sys.stdout, sys.stderr)
        else:
            terminal = stack.enter_context(capture.discard())
        teller = _Teller(
            terminal,
            is_json=output.is_json(),
            is_quiet=output.is_quiet(),
            is_verbose=is_verbose,
        )
        teller.hint(f"loading models from {root / versions.SERVING_FOLDER} ...")
        # TensorFlow loads here.
        from pushed_models import mirrored_models
        from serving.local_server import limits, server

        config = server.ServerConfig(
            serving_folder=root / versions.SERVING_FOLDER,
            poll_seconds=poll_seconds,
            limits=limits.parse(
                [
                    f"max_batch_size={max_batch_size}",
                    f"max_queue={max_queue}",
                    *assignments,
                ]
            ),
            host=host,
            rest_port=rest_port,
            grpc_port=grpc_port,
            allowed_hosts=allowed_hosts,
            grace_seconds=grace_seconds,
            sample_folder=sample_folder,
            sample_share=sample_share,
            sample_max=sample_max,
        )
        serving_folder = config.serving_folder
        with mirrored_models.followed(serving_folder, STORE_LOOKS * poll_seconds):
            stack.enter_context(teller.heard())
            asyncio.run(server.run(config))
    return errors.DONE


class _Teller(logging.Handler):
    """Prints what the server tells: the start to standard output, the rest to the other."""

    def __init__(
        self,
        terminal: capture.Terminal,
        *,
        is_json: bool,
        is_quiet: bool,
        is_verbose: bool,
    ):
        super().__init__(logging.INFO)
        self._terminal = terminal
        self._is_verbose = is_verbose
        self._is_json = is_json
        self._is_quiet = is_quiet

    def hint(self, text: str) -> None:
        """A line for people."""
        if not self._is_json and not self._is_quiet:
            _print(text, self._terminal.stderr)

    @contextlib.contextmanager
    def heard(self) -> Iterator[None]:
        """Tells what the server logs."""
        logger = logging.getLogger("slimline")
        level = logger.level
        logger.addHandler(self)
        logger.setLevel(min(level or logging.INFO, logging.INFO))
        try:
            yield
        finally:
            logger.setLevel(level)
            logger.removeHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """Tells an event, or a sentence and the stack apart from it."""
        try:
            if fields := getattr(record, "fields", None):
                self.tell(record.msg, fields)
                return
            told = {"level": record.levelname.lower(), "text": record.getMessage()}
            if record.exc_info and record.exc_info[1]:
                lines = traceback.format_exception(record.exc_info[1])
                told["stack"] = "".join(lines).rstrip()
            self.tell("log", told)
        except Exception:  # as every handler of `logging` does
            self.handleError(record)

    def tell(self, event: str, fields: Mapping[str, Any]) -> None:
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
        return (
            f"stopping; requests under way have {seconds:g} s, a second signal ends all"
        )
    if event == "stopped":
        cut = f", {fields['cut_short']} cut short" if fields["cut_short"] else ""
        return f"stopped after {fields['requests']:,} requests{cut}"
    prefix = "! " if fields["level"] in ("warning", "error") else ""
    return f"{prefix}{fields['text']}"


def _started(fields: Mapping[str, Any]) -> str:
    lines = [_model_line(model) for model in fields["models"]] or [
        "none yet: slimline run trains one and pushes it, and it is served at once"
    ]
    first = fields["models"][0]["name"] if fields["models"] else "NAME"
    rows = [("models" if place == 0 else "", line) for place, line in enumerate(lines)]
    rows += [
        ("REST", f"http://{fields['rest']}/v1/models/{first}"),
        ("gRPC", fields["grpc"]),
        ("page", f"http://{fields['rest']}/"),
        ("stop", "Ctrl-C"),
    ]
    head = "slimline serve: for this machine; production is TF Serving: docs/serving.md"
    return "\n".join([head, *(f"  {name:<8}{text}" for name, text in rows)])


def _model_line(model: Mapping[str, Any]) -> str:
    parts = [model["name"]]
    if model["answers"] is None:
        parts.append("no version answers")
    else:
        parts.append(f"version {model['answers']}")
        parts.append(f"{len(model['classes'])} classes")
    parts += [f"{label} is {version}" for label, version in model["labels"].items()]
    parts += [
        f"version {entry['version']} refused: {entry['error']}"
        for entry in model["versions"]
        if entry["error"]
    ]
    return " · ".join(parts)

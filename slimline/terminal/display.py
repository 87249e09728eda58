"""The progress of a command: a line that is redrawn on a terminal, a line per event elsewhere."""

import contextlib
import datetime
import json
import pathlib
import tempfile
import textwrap
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TextIO, TypeVar

from common import run_files
from pipeline.runs import runs
from pipeline.settings import Resolved
from slimline import capture, session
from slimline.terminal import machine, output

T = TypeVar("T")

MAX_WIDTH = 100
NAME_WIDTH = 10
INDENT = 3 + NAME_WIDTH + 1
TIME_WIDTH = 8
BAR_WIDTH = 24
MARK_COLOURS = {"✓": "green", "!": "yellow", "✗": "red"}
SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
# Events that tell how far a component is.
MOVING = ("train", "features", "ingest", "predict")
# Rare events, each worth its line.
ALWAYS_TOLD = (
    "contract_written",
    "member_started",
    "member_finished",
    "train_steered",
    "train_instruction_refused",
)
# Lines of one kind come at most this often, or when a tenth more of the steps is done.
PLAIN_SECONDS = 60.0
PROGRESS_IMAGES = 100


class Display:
    """Shows the heading and the events of a run. This one shows nothing, as with -q."""

    def head(self, run: Mapping[str, str], changes: Sequence[str]) -> None:
        """Shows what is known before the run.

        Args:
          run: 'run' (its two words), 'experiment', 'folder' and 'versions' (of the
            packages, and the machine).
          changes: settings that differ from the experiment.
        """

    def event(self, name: str, fields: Mapping[str, Any]) -> None:
        """Shows one progress event; unknown ones are ignored."""


@contextlib.contextmanager
def open_display(
    stream: TextIO, title: str, *, is_plain: bool = False
) -> Iterator[Display]:
    """The display that fits `stream`; nothing of it stays on the line when it closes.

    Args:
      stream: the terminal, or what takes its place.
      title: what runs until the first component starts, for the line that moves.
      is_plain: a time-stamped line an event, also on a terminal.
    """
    if output.is_quiet():
        yield Display()
    elif is_plain or not output.is_live(stream):
        yield PlainDisplay(stream)
    else:
        with _open_live(stream, title) as display:
            yield display


@contextlib.contextmanager
def working(what: str, place: str = "", *, is_plain: bool = False) -> Iterator[Display]:
    """Shows what happens inside; what libraries print is kept for failures only.

    Args:
      what: is done, as 'predict'.
      place: where, for the error, as ' with models/5'.
      is_plain: as for `open_display`.

    Raises:
      RunError: something else than a SlimlineError was raised inside.
    """
    with tempfile.TemporaryDirectory() as scratch:
        log = pathlib.Path(scratch) / run_files.LOG_FILE
        with (
            session.as_run_error(lambda: f"cannot {what}{place}", log),
            capture.capture(log) as terminal,
            open_display(terminal.stderr, what, is_plain=is_plain) as screen,
            session.watched(log.parent, screen.event, logs_everything=False),
        ):
            yield screen


@contextlib.contextmanager
def running(
    folder: pathlib.Path, resolved: Resolved, *, is_plain: bool, is_verbose: bool
) -> Iterator[None]:
    """Shows the run or sweep inside; what libraries print goes to its log.

    Args:
      folder, resolved: of the run or sweep.
      is_plain: as for `open_display`.
      is_verbose: the log goes to standard error as well, so lines are plain.

    Raises:
      SlimlineError: what the user can fix; a RunError with the end of the log otherwise.
    """
    log = folder / run_files.LOG_FILE
    under_way: list[str] = []
    with (
        session.as_run_error(
            lambda: " in ".join(["run failed", *under_way]),
            log,
            found=f"the last lines of {log} are below",
            tip="--debug shows the stack; the log holds it too",
        ),
        capture.capture(log, is_echoed=is_verbose) as terminal,
        open_display(
            terminal.stderr, "loading", is_plain=is_plain or is_verbose
        ) as screen,
    ):
        run = {
            "run": runs.two_words(folder),
            "experiment": resolved.config.name,
            "folder": str(folder),
            "versions": machine.describe(),
        }
        screen.head(run, resolved.changes())

        def listen(name: str, fields: Mapping[str, Any]) -> None:
            if name == "component_started":
                under_way[:] = [fields["component"]]
            screen.event(name, fields)

        with session.prepared(resolved, folder, listen, logs_everything=True):
            yield


def counted(images: Iterable[T], event: str, shown: Display) -> Iterator[T]:
    """The same images; every hundredth is an event `event` with their number so far."""
    for count, image in enumerate(images, start=1):
        yield image
        if count % PROGRESS_IMAGES == 0:
            shown.event(event, {"images": count})


class PlainDisplay(Display):
    """Time-stamped `key=value` lines, without colour or carriage return."""

    def __init__(
        self,
        stream: TextIO,
        now: Callable[[], datetime.datetime] = lambda: datetime.datetime.now(
            datetime.UTC
        ),
    ):
        """Takes the stream; `now` is the clock, UTC."""
        self._stream = stream
        self._now = now
        self._last: dict[str, tuple[datetime.datetime, int]] = {}
        self._tenth = 0

    def head(self, run: Mapping[str, str], changes: Sequence[str]) -> None:
        """See base class."""
        self._write("run_started", run)
        for change in changes:
            self._write("setting_changed", {"setting": change})

    def event(self, name: str, fields: Mapping[str, Any]) -> None:
        """See base class."""
        if name.startswith("component_"):
            self._last.clear()
            self._tenth = 0
            self._write(name, fields)
        elif name in ALWAYS_TOLD or (
            name in ("train_eval", *MOVING) and self._is_due(name, fields)
        ):
            self._write(name, fields)

    def _is_due(self, name: str, fields: Mapping[str, Any]) -> bool:
        if total := fields.get("total_steps"):
            self._tenth = int(10 * fields.get("step", 0) / total + 1e-9)
        now = self._now()
        # The first step of a component says little: its first tenth or minute is awaited.
        then, tenth = self._last.setdefault(name, (now, 0))
        if self._tenth == tenth and (now - then).total_seconds() < PLAIN_SECONDS:
            return False
        self._last[name] = (now, self._tenth)
        return True

    def _write(self, name: str, fields: Mapping[str, Any]) -> None:
        stamp = self._now().strftime("%Y-%m-%dT%H:%M:%SZ")
        pairs = {"event": name, **fields}
        text = " ".join(
            f"{key}={plain_value(value)}"
            for key, value in pairs.items()
            if value is not None and value != ""
        )
        self._stream.write(f"{stamp} {text}\n")
        self._stream.flush()


def plain_value(value: Any) -> str:
    """A value of a `key=value` line; text with spaces or punctuation is quoted as in JSON."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:.4g}"
    text = str(value)
    is_simple = text.isprintable() and not any(character in text for character in ' ="')
    return text if is_simple else json.dumps(text, ensure_ascii=False)


@contextlib.contextmanager
def _open_live(stream: TextIO, title: str) -> Iterator["LiveDisplay"]:
    # rich is not needed elsewhere, and not for --help.
    from rich.console import Console
    from rich.live import Live

    is_gray = not output.has_colour(stream)
    console = Console(file=stream, force_terminal=True, no_color=is_gray)
    display = LiveDisplay(console, title)
    # Libraries' prints belong in the log, so rich must not catch them.
    with Live(
        get_renderable=display.moving_line,
        console=console,
        transient=True,
        refresh_per_second=8,
        redirect_stdout=False,
        redirect_stderr=False,
    ):
        yield display


class LiveDisplay(Display):
    """A finished line a component, and one that moves below them."""

    def __init__(
        self, console: Any, title: str, clock: Callable[[], float] = time.monotonic
    ):
        """Takes a rich Console; `clock` gives seconds."""
        self._console = console
        self._clock = clock
        self._component = title
        self._started = clock()
        self._fields: dict[str, Any] = {}
        self._eval_top_1: float | None = None

    def head(self, run: Mapping[str, str], changes: Sequence[str]) -> None:
        """See base class."""
        self._print(run["versions"])
        self._print(f"run      {run['run']}   {run['folder']}")
        for place, change in enumerate(changes):
            note = "   (all values: config.json)" if place == 0 else ""
            self._print(f"{'' if place else 'changed':<9}{change}{note}")
        self._print("")

    def event(self, name: str, fields: Mapping[str, Any]) -> None:
        """See base class."""
        if name == "component_started":
            self._component = fields["component"]
            self._started = self._clock()
            self._fields, self._eval_top_1 = {}, None
        elif name in ("component_finished", "component_failed"):
            self._component = ""
            width = min(self._console.width, MAX_WIDTH)
            for line in component_lines(name, fields, width):
                self._print(line)
        elif name in ALWAYS_TOLD:
            self._print(told_line(name, fields))
        elif name == "train_eval":
            self._eval_top_1 = fields.get("top_1")
        elif name in MOVING:
            # A new dict: the drawing thread reads the old one meanwhile.
            self._fields = dict(fields)

    def moving_line(self) -> Any:
        """The line that is redrawn, as wide as the terminal at most."""
        from rich.text import Text

        text = Text(no_wrap=True, overflow="ellipsis")
        if self._component:
            elapsed = self._clock() - self._started
            frame = SPINNER[int(elapsed * 10) % len(SPINNER)]
            text.append(f" {frame} ", style="cyan")
            text.append(f"{self._component:<{NAME_WIDTH}} ")
            text.append(moving_detail(self._fields, self._eval_top_1, elapsed))
            text.truncate(self._console.width, overflow="ellipsis")
        return text

    def _print(self, line: str) -> None:
        from rich.text import Text

        text = Text(line)
        if colour := MARK_COLOURS.get(line[1:2]):
            text.stylize(colour, 1, 2)
        self._console.print(text, soft_wrap=True)


def told_line(name: str, fields: Mapping[str, Any]) -> str:
    """A rare event as a line of its own."""
    match name:
        case "contract_written":
            return (
                f" ! wrote the data contract {fields['folder']}/: {fields['classes']}"
                " classes; look at it and commit it"
            )
        case "member_started":
            return (
                f"member {fields['place']} of {fields['members']}: {fields['member']}"
            )
        case "member_finished":
            return f"   {fields['member']}: {fields['detail']}\n"
        case "train_steered":
            return (
                f" ! steered at step {fields['step']:,}: {fields['action']}"
                f" {fields['value']}"
            )
    return f" ! ignored {fields['file']}: {fields['reason']}"


def component_lines(name: str, fields: Mapping[str, Any], width: int) -> list[str]:
    """Lines of a component that has ended: mark, name, detail, and time at the right."""
    mark = "✗"
    if name == "component_finished":
        mark = "✓" if fields.get("is_good", True) else "!"
    detail = str(fields.get("detail") or "")
    if fields.get("is_cached"):
        detail = f"{detail} (from the cache)".strip()
    elif name == "component_failed":
        detail = "failed"
    room = max(width - INDENT - TIME_WIDTH, 20)
    first, *others = textwrap.wrap(detail, room) or [""]
    time_taken = output.duration(fields.get("seconds") or 0)
    return [
        f" {mark} {fields['component']:<{NAME_WIDTH}} {first:<{room}}{time_taken:>{TIME_WIDTH}}",
        *(" " * INDENT + other for other in others),
    ]


def moving_detail(
    fields: Mapping[str, Any], eval_top_1: float | None, elapsed: float
) -> str:
    """Progress of the component that runs: its share and figures, or the time so far."""
    if not fields.get("total_steps"):
        return "  ".join([*figures(fields), output.duration(elapsed)])
    done = round(share(fields) * BAR_WIDTH)
    bar = f"{'━' * done}{'╌' * (BAR_WIDTH - done)} {share(fields):4.0%}"
    return "  ".join([bar, *figures(fields, eval_top_1)])


def share(fields: Mapping[str, Any]) -> float:
    """How much of its steps a component has done, 0 to 1; 0 where it counts none."""
    total = fields.get("total_steps")
    return min(fields.get("step", 0) / total, 1.0) if total else 0.0


def figures(fields: Mapping[str, Any], eval_top_1: float | None = None) -> list[str]:
    """What a component that runs tells of itself."""
    if not fields.get("total_steps"):
        return [f"{fields['images']:,} images"] if "images" in fields else []
    parts = []
    if "epoch" in fields:
        parts.append(f"epoch {fields['epoch']:.0f}")
    if "loss" in fields:
        parts.append(f"loss {fields['loss']:.3f}")
    if eval_top_1 is not None:
        parts.append(f"eval {eval_top_1:.3f}")
    if "images_per_second" in fields:
        each = fields.get("images_per_second_per_device")
        per_device = f" ({each:,.0f} a device)" if each else ""
        parts.append(f"{fields['images_per_second']:,.0f} img/s{per_device}")
    if fields.get("seconds_left") is not None:
        parts.append(f"{output.duration(fields['seconds_left'])} left")
    return parts

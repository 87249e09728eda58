"""What moves while a run goes on: redrawn on a terminal, a line an event elsewhere."""

import contextlib
import dataclasses
import datetime
import json
import pathlib
import tempfile
import textwrap
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol, TextIO, TypeVar

from common import run_files
from slimline import capture, errors, session
from slimline.terminal import output

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


@dataclasses.dataclass(frozen=True)
class Heading:
    """What is known before a run.

    Attributes:
      versions: of the parts, and the machine.
      run: the two words of the run.
      folder: of the run.
      experiment: its name.
      changes: settings that differ from the experiment.
    """

    versions: str
    run: str
    folder: str
    experiment: str
    changes: Sequence[str]


class Display(Protocol):
    """Shows a run's heading and events."""

    def head(self, heading: Heading) -> None:
        """Shows what is known before the run."""

    def event(self, name: str, fields: Mapping[str, Any]) -> None:
        """Shows one progress event; unknown ones are passed over."""


@contextlib.contextmanager
def open_display(
    stream: TextIO, *, is_plain: bool = False, is_quiet: bool = False
) -> Iterator[Display]:
    """The display that fits `stream`; nothing of it stays on the line when it closes.

    It is silent where `is_quiet` says so, or -q of the command.
    """
    if is_quiet or output.is_quiet():
        yield SilentDisplay()
    elif is_plain or not output.is_live(stream):
        yield PlainDisplay(stream)
    else:
        with _open_live(stream) as display:
            yield display


@contextlib.contextmanager
def working(
    what: str, *, is_plain: bool = False, is_quiet: bool = False
) -> Iterator[Display]:
    """Shows what happens inside; what libraries say meanwhile is for failures only.

    Args:
      what: is done, for the error, as 'predict'.

    Raises:
      RunError: something else than a SlimlineError was raised inside.
    """
    with tempfile.TemporaryDirectory() as scratch:
        log = pathlib.Path(scratch) / run_files.LOG_FILE
        try:
            with (
                capture.capture(log) as terminal,
                open_display(
                    terminal.stderr, is_plain=is_plain, is_quiet=is_quiet
                ) as screen,
                session.watched(log.parent, screen.event, logs_everything=False),
            ):
                yield screen
        except errors.SlimlineError:
            raise
        except Exception as error:
            first_line = (str(error).strip() or "no message").splitlines()[0]
            broken = errors.RunError(
                f"cannot {what}: {type(error).__name__}: {first_line[:300]}"
            )
            broken.log_lines = session.last_lines(log)
            raise broken from error


def counted(images: Iterable[T], event: str, shown: Display) -> Iterator[T]:
    """The same images; every hundredth is an event `event` with their number so far."""
    for count, image in enumerate(images, start=1):
        yield image
        if count % PROGRESS_IMAGES == 0:
            shown.event(event, {"images": count})


class SilentDisplay:
    """Shows nothing."""

    def head(self, heading: Heading) -> None:
        """See Display."""

    def event(self, name: str, fields: Mapping[str, Any]) -> None:
        """See Display."""


class PlainDisplay:
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

    def head(self, heading: Heading) -> None:
        """See Display."""
        self._write(
            "run_started",
            {
                "run": heading.run,
                "experiment": heading.experiment,
                "folder": heading.folder,
                "versions": heading.versions,
            },
        )
        for change in heading.changes:
            self._write("setting_changed", {"setting": change})

    def event(self, name: str, fields: Mapping[str, Any]) -> None:
        """See Display."""
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
    is_simple = text.isprintable() and not any(sign in text for sign in ' ="')
    return text if is_simple else json.dumps(text, ensure_ascii=False)


@contextlib.contextmanager
def _open_live(stream: TextIO) -> Iterator["LiveDisplay"]:
    # rich is not needed elsewhere, and not for --help.
    from rich.console import Console
    from rich.live import Live

    console = Console(
        file=stream,
        force_terminal=True,
        no_color=not output.has_colour(stream),
        highlight=False,
        emoji=False,
        markup=False,
    )
    display = LiveDisplay(console)
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


class LiveDisplay:
    """A finished line a component, and one that moves below them."""

    def __init__(self, console: Any, clock: Callable[[], float] = time.monotonic):
        """Takes a rich Console; `clock` gives seconds."""
        self._console = console
        self._clock = clock
        self._component = ""
        self._started = clock()
        self._fields: dict[str, Any] = {}
        self._eval_top_1: float | None = None

    @property
    def _width(self) -> int:
        return min(self._console.width, MAX_WIDTH)

    def head(self, heading: Heading) -> None:
        """See Display."""
        self._print(heading.versions)
        self._print(f"run      {heading.run}   {heading.folder}")
        for place, change in enumerate(heading.changes):
            note = "   (all values: config.json)" if place == 0 else ""
            self._print(f"{'' if place else 'changed':<9}{change}{note}")
        self._print("")
        # TensorFlow takes seconds to load before the first component starts.
        self._component, self._started = "loading", self._clock()

    def event(self, name: str, fields: Mapping[str, Any]) -> None:
        """See Display."""
        if name == "component_started":
            self._component = fields["component"]
            self._started = self._clock()
            self._fields, self._eval_top_1 = {}, None
        elif name in ("component_finished", "component_failed"):
            self._component = ""
            for line in component_lines(name, fields, self._width):
                self._print_component(line)
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
        self._console.print(line, soft_wrap=True)

    def _print_component(self, line: str) -> None:
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
                f" ! by hand at step {fields['step']:,}: {fields['action']}"
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
    told = output.duration(fields.get("seconds") or 0)
    return [
        f" {mark} {fields['component']:<{NAME_WIDTH}} {first:<{room}}{told:>{TIME_WIDTH}}",
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
        told = f" ({each:,.0f} a device)" if each else ""
        parts.append(f"{fields['images_per_second']:,.0f} img/s{told}")
    if fields.get("seconds_left") is not None:
        parts.append(f"{output.duration(fields['seconds_left'])} left")
    return parts

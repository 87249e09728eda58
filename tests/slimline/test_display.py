import datetime
import io

import click
import pytest
from rich.console import Console

from slimline.terminal import display, output

START = datetime.datetime(2026, 11, 22, 2, 0, tzinfo=datetime.UTC)
RUN = {
    "run": "quick-heron",
    "experiment": "digits_resnet_20",
    "folder": "runs/2026-11-22_0201_quick-heron",
    "versions": "slimline 0.1.0 · 2 CPU",
}
CHANGES = ["train.epochs 40 -> 30", "train.seed 1 -> 2"]


class Terminal(io.StringIO):
    def isatty(self):
        return True


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self):
        self.seconds = 0.0

    def now(self):
        return START + datetime.timedelta(seconds=self.seconds)


@pytest.fixture
def plain():
    clock, stream = Clock(), io.StringIO()
    return display.PlainDisplay(stream, clock.now), clock, stream


@pytest.fixture(autouse=True)
def terminal_environment(monkeypatch):
    for name in ("CI", "NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")


def test_plain_heading(plain):
    screen, _, stream = plain
    screen.head(RUN, CHANGES)
    assert stream.getvalue().splitlines()[1] == (
        '2026-11-22T02:00:00Z event=setting_changed setting="train.epochs 40 -> 30"'
    )


def test_plain_values():
    assert display.plain_value(True) == "true"
    assert display.plain_value(0.123456) == "0.1235"
    assert display.plain_value(7) == "7"
    assert display.plain_value("a=b") == '"a=b"'
    assert display.plain_value("line\nbreak") == '"line\\nbreak"'
    assert display.plain_value("\x1b[2J") == '"\\u001b[2J"'


def test_plain_trains_every_tenth(plain):
    screen, _, stream = plain
    screen.event("component_started", {"component": "train"})
    for step in range(1, 1001):
        screen.event("train", {"step": step, "total_steps": 1000})
        if step % 20 == 0:
            screen.event("train_eval", {"step": step, "top_1": 0.5})
    lines = stream.getvalue().splitlines()
    steps = [
        line.split("step=")[1].split()[0] for line in lines if "event=train " in line
    ]
    assert steps == [str(step) for step in range(100, 1001, 100)]
    assert sum("event=train_eval" in line for line in lines) == 10


def test_plain_trains_every_minute(plain):
    screen, clock, stream = plain
    for step in range(1, 131):
        clock.seconds = step
        screen.event("train", {"step": step, "total_steps": 10**6})
    assert stream.getvalue().count("event=train ") == 2


def test_plain_passes_over_what_it_does_not_know(plain):
    screen, _, stream = plain
    screen.event("something_new", {"a": 1})
    assert stream.getvalue() == ""


def test_live_shows_a_line_a_component():
    stream = Terminal()
    with display.open_display(stream, "loading") as screen:
        screen.head(RUN, CHANGES)
        screen.event("component_started", {"component": "ingest"})
        screen.event("ingest", {"images": 500})
        screen.event(
            "component_finished",
            {
                "component": "ingest",
                "seconds": 21.0,
                "is_cached": False,
                "detail": "1,797 images",
            },
        )
        screen.event("component_started", {"component": "train"})
        screen.event("component_failed", {"component": "train", "seconds": 62.0})
    shown = stream.getvalue()
    assert "quick-heron   runs/2026-11-22_0201_quick-heron" in shown
    assert "changed  train.epochs 40 -> 30   (all values: config.json)" in shown
    assert "1,797 images" in shown
    assert "\x1b[" in shown
    # The cursor is visible again.
    assert shown.rindex("\x1b[?25h") > shown.rindex("\x1b[?25l")


def test_no_color_keeps_the_line_alive_without_colour(monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    stream = Terminal()
    with display.open_display(stream, "loading") as screen:
        screen.event("component_started", {"component": "train"})
        screen.event("component_finished", {"component": "train", "seconds": 1.0})
    assert "\x1b[32m" not in stream.getvalue()
    assert "\x1b[" in stream.getvalue()


def test_component_lines():
    fields = {"component": "ingest", "seconds": 21.0, "detail": "1,797 images"}
    (line,) = display.component_lines("component_finished", fields, 60)
    assert line.split("   ")[0] == " ✓ ingest"
    assert line.endswith("1,797 images" + " " * 30 + "0:21")
    assert len(line) == 60
    (cached,) = display.component_lines(
        "component_finished", fields | {"is_cached": True}, 80
    )
    assert "1,797 images (from the cache)" in cached
    (failed,) = display.component_lines("component_failed", fields, 60)
    assert failed.startswith(" ✗ ingest     failed")


def test_long_details_go_on_below():
    fields = {"component": "evaluate", "seconds": 1, "detail": "word " * 30}
    lines = display.component_lines("component_finished", fields, 60)
    assert len(lines) == 5
    assert all(len(line) <= 60 for line in lines)
    assert lines[1].startswith(" " * display.INDENT + "word")


def test_moving_line_is_never_wider_than_the_terminal():
    console = Console(file=Terminal(), width=56, force_terminal=True)
    clock = Clock()
    screen = display.LiveDisplay(console, "loading", lambda: clock.seconds)
    screen.head(RUN, CHANGES)
    assert screen.moving_line().plain.endswith("loading    0:00")
    screen.event("component_started", {"component": "transform"})
    clock.seconds = 62
    assert screen.moving_line().plain.endswith("transform  1:02")
    screen.event("train", {"step": 50, "total_steps": 100, "loss": 0.31234})
    screen.event("train_eval", {"top_1": 0.871})
    assert "  50%  loss 0.312" in screen.moving_line().plain
    with console.capture() as captured:
        console.print(screen.moving_line())
    assert captured.get().count("\n") == 1
    screen.event("component_finished", {"component": "transform"})
    assert screen.moving_line().plain == ""


@pytest.mark.parametrize(
    ("variables", "live", "colour"),
    [
        ({}, True, True),
        ({"CI": "true"}, False, True),
        ({"CI": "false"}, True, True),
        ({"TERM": "dumb"}, False, False),
        ({"NO_COLOR": "1"}, True, False),
        ({"NO_COLOR": "1", "FORCE_COLOR": "1"}, True, False),
    ],
)
def test_liveness_and_colour_are_two_switches(monkeypatch, variables, live, colour):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert output.is_live(Terminal()) is live
    assert output.has_colour(Terminal()) is colour


def test_forced_colour_makes_no_pipe_live(monkeypatch):
    assert not output.has_colour(io.StringIO())
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert output.has_colour(io.StringIO())
    assert not output.is_live(io.StringIO())
    with display.open_display(io.StringIO(), "loading") as screen:
        assert isinstance(screen, display.PlainDisplay)


def test_plain_and_quiet_on_a_terminal():
    with display.open_display(Terminal(), "loading", is_plain=True) as screen:
        assert isinstance(screen, display.PlainDisplay)
    stream = Terminal()
    context = click.Context(click.Command("run"))
    context.meta[output.QUIET] = True
    with context, display.open_display(stream, "loading") as screen:
        screen.head(RUN, CHANGES)
        screen.event("component_started", {"component": "train"})
    assert stream.getvalue() == ""


def test_durations():
    assert output.duration(0.4) == "0:00"
    assert output.duration(59.6) == "1:00"
    assert output.duration(1387) == "23:07"
    assert output.duration(3723) == "1:02:03"


def test_control_signs_do_not_reach_the_terminal():
    assert output.printable("a\x1b[2J\udcff\n") == "a\\x1b[2J\\udcff\n"

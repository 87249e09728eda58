"""What a Jupyter notebook shows of a run: one bar that is redrawn, and no logs."""

import contextlib
import html
import pathlib
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from pipeline.runs import parts, runs
from slimline import capture, session

REDRAW_SECONDS = 0.25
# Of the bar, all equally wide.
STEPS = (*parts.COMPONENTS, "report")


def is_here() -> bool:
    """Whether the code runs in the kernel of a notebook, not in a plain interpreter."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return getattr(shell, "kernel", None) is not None


@contextlib.contextmanager
def shown(folder: pathlib.Path) -> Iterator[session.Listener | None]:
    """Shows the progress of the run in `folder`; libraries print into its log meanwhile.

    Yields:
      The listener that takes the events; None elsewhere than in a notebook, where nothing
      is shown and nothing is redirected.
    """
    if not is_here():
        yield None
        return
    with capture.capture(folder / runs.LOG_FILE), _no_displays() as publisher:
        bar = Bar(runs.two_words(folder), _redrawn_by(publisher))
        yield bar.event
        bar.finish()


@contextlib.contextmanager
def without_noise() -> Iterator[None]:
    """In a notebook, what libraries print vanishes inside; elsewhere nothing changes."""
    if not is_here():
        yield
        return
    with capture.discard(), _no_displays():
        yield


@contextlib.contextmanager
def _no_displays() -> Iterator[Any]:
    """Yields the cell's publisher; libraries get one that shows nothing.

    Beam would load scripts from the network into every notebook that it finds.
    """
    from IPython.core import displaypub

    shell = sys.modules["IPython"].get_ipython()
    publisher = shell.display_pub
    shell.display_pub = displaypub.CapturingDisplayPublisher()
    try:
        yield publisher
    finally:
        shell.display_pub = publisher


def _redrawn_by(publisher: Any) -> Callable[[str], None]:
    """Function that shows HTML in the cell, replacing what it showed before."""
    place = {"display_id": uuid.uuid4().hex}
    is_drawn = False

    def draw(text: str) -> None:
        nonlocal is_drawn
        data = {"text/html": text, "text/plain": "progress of a run"}
        publisher.publish(data, transient=place, update=is_drawn)
        is_drawn = True

    return draw


class Bar:
    """Progress of a run: components that are done, and figures of the one that runs."""

    def __init__(
        self,
        run: str,
        draw: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ):
        """Draws the first time.

        Args:
          run: its two words.
          draw: shows the bar as HTML, replacing the one before.
          clock: gives seconds.
        """
        self._run = run
        self._draw = draw
        self._clock = clock
        self._started = clock()
        self._drawn = -REDRAW_SECONDS
        self._done = 0.0
        self._title = "loading TensorFlow"
        self._figures = ""
        self._eval_top_1: float | None = None
        self._redraw()

    def event(self, name: str, fields: Mapping[str, Any]) -> None:
        """Takes one progress event; unknown ones are ignored."""
        # The command's display imports click and more, which `import slimline` need not.
        from slimline.terminal import display

        match name:
            case "component_started":
                self._title, self._figures = fields["component"], ""
                self._done = float(self._place(self._title))
            case "component_finished":
                self._figures = str(fields.get("detail") or "")
                self._done = float(self._place(fields["component"]) + 1)
            case "component_failed":
                self._figures = "failed"
            case "member_started":
                self._run = fields["member"]
            case "train_eval":
                self._eval_top_1 = fields.get("top_1")
            case _ if name in display.MOVING:
                self._done = int(self._done) + min(display.share(fields), 0.99)
                self._figures = "  ".join(display.figures(fields, self._eval_top_1))
            case _:
                return
        if name.startswith("component_") or self._is_due():
            self._redraw()

    def finish(self) -> None:
        """Draws the finished bar."""
        self._done = float(len(STEPS))
        self._title, self._figures = "finished", ""
        self._redraw()

    def _place(self, component: str) -> int:
        """Number of steps before a component; of those done for an unknown one."""
        return STEPS.index(component) if component in STEPS else int(self._done)

    def _is_due(self) -> bool:
        return self._clock() - self._drawn >= REDRAW_SECONDS

    def _redraw(self) -> None:
        from slimline.terminal import output

        self._drawn = self._clock()
        share = self._done / len(STEPS)
        elapsed = output.duration(self._clock() - self._started)
        self._draw(
            '<div style="font-variant-numeric:tabular-nums">'
            f"<b>{html.escape(self._run)}</b> "
            f'<progress max="1" value="{share:.3f}"'
            ' style="width:14em;vertical-align:middle"></progress>'
            f" {share:.0%} {elapsed} &nbsp;<b>{html.escape(self._title)}</b>"
            f" {html.escape(self._figures)}</div>"
        )

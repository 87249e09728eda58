"""What a Jupyter notebook shows of a run: one bar that is redrawn, and no logs."""

import contextlib
import html
import pathlib
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from pipeline import parts, runs
from slimline import capture, session

REDRAW_SECONDS = 0.25


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
    from IPython import display

    with capture.capture(folder / runs.LOG_FILE):
        handle = display.display(
            display.HTML(""),
            display_id=True,
        )
        bar = Bar(
            runs.two_words(folder), lambda text: handle.update(display.HTML(text))
        )
        try:
            yield bar.event
        finally:
            bar.close()


class Bar:
    """How far a run is: the components that are done, and figures of the one that runs."""

    def __init__(
        self,
        run: str,
        draw: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ):
        """Draws the first time.

        Args:
          run: its two words.
          draw: takes the bar as HTML, in place of the one before.
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
        """Takes one progress event; unknown ones are passed over."""
        # The command's display imports click and more, which a plain import need not.
        from slimline.cli import display

        match name:
            case "component_started":
                self._done = float(parts.COMPONENTS.index(fields["component"]))
                self._title, self._figures = fields["component"], ""
            case "component_finished":
                self._done = float(parts.COMPONENTS.index(fields["component"]) + 1)
                self._figures = str(fields.get("detail") or "")
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

    def close(self) -> None:
        """Draws the last time."""
        self._redraw()

    def _is_due(self) -> bool:
        return self._clock() - self._drawn >= REDRAW_SECONDS

    def _redraw(self) -> None:
        from slimline.cli import output

        self._drawn = self._clock()
        share = self._done / len(parts.COMPONENTS)
        elapsed = output.duration(self._clock() - self._started)
        self._draw(
            '<div style="font-variant-numeric:tabular-nums">'
            f"<b>{html.escape(self._run)}</b> "
            f'<progress max="1" value="{share:.3f}"'
            ' style="width:14em;vertical-align:middle"></progress>'
            f" {share:.0%} {elapsed} &nbsp;<b>{html.escape(self._title)}</b>"
            f" {html.escape(self._figures)}</div>"
        )

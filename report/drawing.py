"""Charts by matplotlib: PNG files, and SVG images in a page that follow its theme."""

import base64
import dataclasses
import functools
import io
import math
import pathlib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from report import wording

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Point = tuple[float, float]

MAX_POINTS = 500
# Look of a line: a colour of the style sheet, and dashes that tell lines apart without it.
QUIET = ("quiet", "-")
_COLOURS = ("accent", "second", "kept", "broken", "ink", "soft")
_DASHES = ("-", "--", ":", "-.")
STYLE_SHEET = pathlib.Path(__file__).parent / "templates" / "style.css"

# Sizes of images in a page in px; a point is a px there.
_PANEL = (340, 210)
_LEGEND_ROW = 16
# Characters of a name that leave room for two columns of the legend.
_SHORT_NAME = 26
_RELIABILITY = (400, 330)
_COUNTS = (400, 150)
_INTERVAL = (120, 14)
_POINTS_PER_INCH = 72
_PNG_PANEL_INCHES = (4.8, 4.2)
_PNG_DOTS_PER_INCH = 120


@dataclasses.dataclass(frozen=True)
class Line:
    """A curve.

    Attributes:
      name: for the legend.
      look: of `look`, or QUIET.
      points: x and y, by rising x.
      has_marks: whether each point is marked.
    """

    name: str
    look: tuple[str, str]
    points: Sequence[Point]
    has_marks: bool = False


@dataclasses.dataclass(frozen=True)
class Panel:
    """Lines over the steps of a training, from 0 up.

    Attributes:
      title: what it shows.
      y_name: of the y axis.
      lines: those without points are left out.
      top: upper limit of the y axis; 0 fits it to the lines.
      best: a point to annotate with its value, or None.
    """

    title: str
    y_name: str
    lines: Sequence[Line]
    top: float = 0
    best: Point | None = None

    @property
    def drawn(self) -> list[Line]:
        """The lines that have points."""
        return [line for line in self.lines if line.points]

    @property
    def legend(self) -> tuple[int, int]:
        """Rows and columns of the legend; (0, 0) for a single line."""
        names = [line.name for line in self.drawn]
        if len(names) < 2:
            return 0, 0
        columns = 1 if max(map(len, names)) > _SHORT_NAME else 2
        return math.ceil(len(names) / columns), columns

    @property
    def in_words(self) -> str:
        """Alternative text: where each line begins and ends."""
        ends = [
            f"{line.name}: from {line.points[0][1]:.4g} to {line.points[-1][1]:.4g}"
            for line in self.drawn
        ]
        return f"{self.title} over the steps. {'; '.join(ends)}."


def look(place: int) -> tuple[str, str]:
    """Colour and dashes of a line by its place; the first 24 differ."""
    count = len(_COLOURS)
    return _COLOURS[place % count], _DASHES[(place + place // count) % len(_DASHES)]


def curves(panel: Panel) -> Markup:
    """A panel for a page; '' without a line that has points."""
    if not panel.drawn:
        return Markup("")
    width, height = _PANEL
    size = width, height + _LEGEND_ROW * panel.legend[0]
    return _picture("chart", panel.in_words, size, lambda axes: _draw(axes, panel))


def save(panels: Sequence[Panel], path: pathlib.Path, title: str = "") -> None:
    """Panels side by side as PNG, in the light theme.

    Args:
      panels: one or more.
      path: of the file.
      title: above them; '' for none.
    """
    # Takes seconds to load.
    import matplotlib
    from matplotlib.figure import Figure

    width, height = _PNG_PANEL_INCHES
    with matplotlib.rc_context(_rc()):
        figure = Figure((width * len(panels), height), layout="constrained")
        for axes, panel in zip(
            figure.subplots(1, len(panels), squeeze=False).flat, panels, strict=True
        ):
            _draw(axes, panel)
            axes.set_title(panel.title)
        figure.suptitle(wording.visible(title))
        figure.savefig(path, format="png", dpi=_PNG_DOTS_PER_INCH)


def reliability(bins: Sequence[Mapping[str, Any]]) -> Markup:
    """Accuracy by confidence as bars against the diagonal, the gaps as vertical lines.

    Args:
      bins: of `components.model_evaluator.scores.reliability`.
    """

    def draw(axes: "Axes") -> None:
        colours, filled = themes()[0], [each for each in bins if each["count"]]
        confidence = [each["confidence"] for each in filled]
        accuracy = [each["accuracy"] for each in filled]
        _bars(axes, filled, accuracy, colours["accent"], alpha=0.55)
        axes.plot([0, 1], [0, 1], "--", color=colours["soft"], linewidth=1)
        axes.vlines(confidence, confidence, accuracy, colours["ink"], linewidth=1.5)
        axes.plot(
            confidence, accuracy, "o", color=colours["ink"], markersize=5, clip_on=False
        )
        axes.set(ylim=(0, 1), xlabel="confidence", ylabel="share that is right")

    words = "Share of right answers in bins of confidence, against the diagonal."
    return _picture("chart", words, _RELIABILITY, draw)


def counts(bins: Sequence[Mapping[str, Any]]) -> Markup:
    """Images of each bin of confidence as bars."""

    def draw(axes: "Axes") -> None:
        _bars(axes, bins, [each["count"] for each in bins], themes()[0]["quiet"])
        axes.set(xlabel="confidence", ylabel="images")
        axes.yaxis.set_major_formatter("{x:,.0f}")

    return _picture("chart", "Images in each bin of confidence.", _COUNTS, draw)


def interval(low: float | None, value: float | None, high: float | None) -> Markup:
    """A difference and its interval, with a line at zero; '' where one is not finite."""
    if low is None or value is None or high is None:
        return Markup("")
    reach = 1.1 * (max(abs(low), abs(value), abs(high)) or 1)
    if not math.isfinite(reach):
        return Markup("")

    def draw(axes: "Axes") -> None:
        colours = themes()[0]
        axes.axvline(0, color=colours["quiet"], linewidth=1)
        axes.hlines(0, low, high, colours["accent"], linewidth=2)
        axes.plot(value, 0, "o", color=colours["accent"], markersize=6)
        axes.set(xlim=(-reach, reach), ylim=(-1, 1))
        axes.set_axis_off()
        axes.set_position((0, 0, 1, 1))

    words = f"{value:+.4f} within {low:+.4f} and {high:+.4f}"
    return _picture("interval", words, _INTERVAL, draw)


def bar(value: float, highest: float = 1) -> Markup:
    """A bar beside its figure, hidden from screen readers."""
    return Markup(
        '<progress class="bar" value="{:.4f}" max="1" aria-hidden="true"></progress>'
    ).format(min(1, max(0, value / highest)) if highest else 0)


def thin(points: Sequence[Point], most: int = MAX_POINTS) -> list[Point]:
    """At most `most` of the finite points, evenly chosen, with the last."""
    finite = [point for point in points if math.isfinite(point[1])]
    if len(finite) <= most:
        return finite
    last = len(finite) - 1
    return [finite[round(place * last / (most - 1))] for place in range(most)]


def series(rows: Iterable[Mapping[str, float]], name: str) -> list[Point]:
    """A column of a table over its steps."""
    return thin([(row["step"], row[name]) for row in rows if name in row])


@functools.cache
def themes() -> tuple[dict[str, str], dict[str, str]]:
    """Colours of the style sheet by name: the light theme and the dark one."""
    light, dark = re.findall(
        r":root \{(.*?)\}", STYLE_SHEET.read_text(encoding="utf-8"), re.DOTALL
    )[:2]
    pattern = r"--([a-z]+): (#[0-9a-f]{6});"
    return dict(re.findall(pattern, light)), dict(re.findall(pattern, dark))


def _draw(axes: "Axes", panel: Panel) -> None:
    colours = themes()[0]
    for line in panel.drawn:
        colour, dashes = line.look
        axes.plot(
            *zip(*line.points, strict=True),
            dashes,
            color=colours[colour],
            linewidth=1.0 if line.look == QUIET else 1.6,
            marker="o" if line.has_marks or len(line.points) == 1 else "",
            markersize=4,
            label=wording.visible(line.name),
        )
    axes.set(xlabel="step", ylabel=panel.y_name)
    axes.grid(axis="y")
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.locator_params(nbins=5)
    # Limits come after the lines: the other end follows from them.
    axes.set_xlim(left=0)
    axes.set_ylim(0, panel.top or None)
    if panel.best:
        axes.annotate(
            f"{panel.best[1]:.4f}",
            panel.best,
            xytext=(0, -12),
            textcoords="offset points",
            ha="center",
            va="top",
        )
    rows, columns = panel.legend
    if rows:
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=columns)


def _bars(
    axes: "Axes",
    bins: Sequence[Mapping[str, Any]],
    values: Sequence[float],
    colour: str,
    **style: Any,
) -> None:
    for each, value in zip(bins, values, strict=True):
        width = each["high"] - each["low"]
        axes.bar(each["low"], value, 0.95 * width, align="edge", color=colour, **style)
    axes.grid(axis="y")
    axes.set_xlim(0, 1)
    axes.locator_params(axis="y", nbins=5)


def _picture(
    kind: str, words: str, size: tuple[int, int], draw: Callable[["Axes"], None]
) -> Markup:
    """An <img> of class `kind` with an SVG as data: address.

    An <img> depends on no styles or ids of the page. Its colours become variables with the
    values of the theme.
    """
    import matplotlib
    from matplotlib.figure import Figure

    light, dark = themes()
    with matplotlib.rc_context(_rc()):
        width, height = (each / _POINTS_PER_INCH for each in size)
        figure = Figure((width, height), layout="constrained")
        draw(figure.subplots())
        file = io.StringIO()
        empty = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(file, format="svg", transparent=True, metadata=empty)
    text = file.getvalue()
    for name, colour in light.items():
        text = text.replace(colour, f"var(--{name})")
    style = (
        f":root{_block(light)}@media(prefers-color-scheme:dark){{:root{_block(dark)}}}"
    )
    text = text.replace("<defs>", f"<style>{style}</style><defs>", 1)
    data = base64.b64encode(text.encode()).decode()
    return Markup(
        '<img class="{}" src="data:image/svg+xml;base64,{}" alt="{}">'
    ).format(kind, data, words)


def _block(colours: Mapping[str, str]) -> str:
    return (
        "{" + "".join(f"--{name}:{colour};" for name, colour in colours.items()) + "}"
    )


def _rc() -> Any:
    """Settings of matplotlib that match the style of the page."""
    colours = themes()[0]
    return {
        "axes.axisbelow": True,
        "axes.edgecolor": colours["line"],
        "axes.facecolor": "none",
        "axes.labelcolor": colours["soft"],
        "axes.labelsize": 10,
        "axes.spines.right": False,
        "axes.spines.top": False,
        "axes.titlecolor": colours["ink"],
        "axes.titlesize": 11,
        "figure.facecolor": colours["paper"],
        "figure.titlesize": 11,
        "font.size": 10,
        "grid.color": colours["faint"],
        "legend.fontsize": 9,
        "legend.frameon": False,
        "legend.labelcolor": colours["soft"],
        "svg.fonttype": "none",
        "svg.hashsalt": "slimline",
        "text.color": colours["ink"],
        "text.parse_math": False,
        "xtick.color": colours["line"],
        "xtick.labelcolor": colours["soft"],
        "ytick.color": colours["line"],
        "ytick.labelcolor": colours["soft"],
    }

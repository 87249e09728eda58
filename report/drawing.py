"""Charts by matplotlib: PNG files, and pictures inside a page that follow its theme."""

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
# How lines look: variables of the style sheet, and dashes by which they differ without colour.
QUIET = ("quiet", "-")
_COLOURS = ("accent", "second", "kept", "broken", "ink", "soft")
_DASHES = ("-", "--", ":", "-.")
STYLE_SHEET = pathlib.Path(__file__).parent / "templates" / "style.css"

# px of a picture in a page, where a point is a px.
_PANEL = (340, 210)
_LEGEND_ROW = 16
# Characters of a name that leave room for a second column of the legend.
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
      top: highest figure of the y axis; 0 takes that of the lines.
      best: a point whose figure is told, or None.
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
        """Rows and columns of the legend; a single line needs none."""
        names = [line.name for line in self.drawn]
        if len(names) < 2:
            return 0, 0
        columns = 1 if max(map(len, names)) > _SHORT_NAME else 2
        return math.ceil(len(names) / columns), columns

    @property
    def in_words(self) -> str:
        """Where each line begins and ends, for those who do not see it."""
        told = [
            f"{line.name}: from {line.points[0][1]:.4g} to {line.points[-1][1]:.4g}"
            for line in self.drawn
        ]
        return f"{self.title} over the steps. {'; '.join(told)}."


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
    # Slow to load, and needed at the end of a training only.
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
    """Accuracy by confidence as bars against the diagonal, with the gaps as strokes.

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

    told = "Share of right answers in bins of confidence, against the diagonal."
    return _picture("chart", told, _RELIABILITY, draw)


def counts(bins: Sequence[Mapping[str, Any]]) -> Markup:
    """Images of each bin of confidence as bars."""

    def draw(axes: "Axes") -> None:
        _bars(axes, bins, [each["count"] for each in bins], themes()[0]["quiet"])
        axes.set(xlabel="confidence", ylabel="images")
        axes.yaxis.set_major_formatter("{x:,.0f}")

    return _picture("chart", "Images in each bin of confidence.", _COUNTS, draw)


def interval(low: float, value: float, high: float, reach: float) -> Markup:
    """A difference with its interval about zero, beside figures that say the same."""

    def draw(axes: "Axes") -> None:
        colours = themes()[0]
        axes.axvline(0, color=colours["quiet"], linewidth=1)
        axes.hlines(0, low, high, colours["accent"], linewidth=2)
        axes.plot(value, 0, "o", color=colours["accent"], markersize=6)
        axes.set(xlim=(-1.1 * (reach or 1), 1.1 * (reach or 1)), ylim=(-1, 1))
        axes.set_axis_off()
        axes.set_position((0, 0, 1, 1))

    told = f"{value:+.4f} within {low:+.4f} and {high:+.4f}"
    return _picture("interval", told, _INTERVAL, draw)


def bar(value: float, highest: float = 1) -> Markup:
    """A bar beside a figure that says the same, so it is hidden from those who hear it."""
    return Markup(
        '<progress class="bar" value="{:.4f}" max="1" aria-hidden="true"></progress>'
    ).format(min(1, max(0, value / highest)) if highest else 0)


def thin(points: Sequence[Point], most: int = MAX_POINTS) -> list[Point]:
    """At most `most` of the points, evenly chosen, the last among them; finite ones only."""
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
    """Colours of the style sheet by their names there: the light theme and the dark one."""
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
    kind: str, told: str, size: tuple[int, int], draw: Callable[["Axes"], None]
) -> Markup:
    """An image of kind `kind` in the style sheet, as SVG inside its address.

    As an image it needs neither styles nor ids of the page around it. Its colours become
    variables, which have the values of the theme.
    """
    import matplotlib
    from matplotlib.figure import Figure

    light, dark = themes()
    with matplotlib.rc_context(_rc()):
        width, height = (each / _POINTS_PER_INCH for each in size)
        figure = Figure((width, height), layout="constrained")
        draw(figure.subplots())
        file = io.StringIO()
        nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(file, format="svg", transparent=True, metadata=nothing)
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
    ).format(kind, data, told)


def _block(colours: Mapping[str, str]) -> str:
    return (
        "{" + "".join(f"--{name}:{colour};" for name, colour in colours.items()) + "}"
    )


def _rc() -> Any:
    """Settings of matplotlib that make its pictures look like the page."""
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

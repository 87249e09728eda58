"""Drawings as inline SVG; colours are classes of the style sheet, so they follow the theme."""

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence

from markupsafe import Markup, escape

Point = tuple[float, float]

WIDTH, HEIGHT = 340, 210
LEFT, RIGHT, TOP, BOTTOM = 52, 8, 10, 34
MAX_POINTS = 500
BAR_WIDTH, BAR_HEIGHT = 100, 8


@dataclasses.dataclass(frozen=True)
class Line:
    """A curve.

    Attributes:
      name: for the legend.
      kind: class in the style sheet.
      points: x and y, by rising x.
      has_marks: whether each point is marked.
    """

    name: str
    kind: str
    points: Sequence[Point]
    has_marks: bool = False


@dataclasses.dataclass(frozen=True)
class Frame:
    """Maps figures to px of a drawing.

    Attributes:
      x: lowest and highest figure on the x axis. y: on the y axis.
      width: px of the drawing. height: px.
    """

    x: Point
    y: Point
    width: float = WIDTH
    height: float = HEIGHT

    def across(self, value: float) -> float:
        """px from the left."""
        low, high = self.x
        room = self.width - LEFT - RIGHT
        return LEFT + room * (value - low) / ((high - low) or 1)

    def down(self, value: float) -> float:
        """px from the top."""
        low, high = self.y
        room = self.height - TOP - BOTTOM
        return TOP + room * (1 - (value - low) / ((high - low) or 1))


def curves(title: str, y_name: str, lines: Sequence[Line], *, top: float = 0) -> Markup:
    """Lines over the steps of a training, from 0 up.

    Args:
      title: what it shows, for those who do not see it.
      y_name: of the y axis.
      lines: those without points are left out.
      top: highest figure of the y axis; 0 takes that of the lines.
    """
    drawn = [line for line in lines if line.points]
    if not drawn:
        return Markup("")
    last = max(line.points[-1][0] for line in drawn)
    highest = max(y for line in drawn for _, y in line.points)
    y_marks = ticks(top or highest)
    frame = Frame((0, last), (0, top or max(y_marks[-1], highest)))
    return _svg(
        title,
        frame,
        [
            _axes(frame, ticks(last), y_marks, "step", y_name),
            *(_line(frame, line) for line in drawn),
        ],
    )


def reliability(bins: Sequence[dict]) -> Markup:
    """Accuracy by confidence as bars against the diagonal, the images of each bin below.

    Args:
      bins: of `components.model_evaluator.scores.reliability`.
    """
    frame = Frame((0, 1), (0, 1), 400, 330)
    parts = [
        _axes(frame, ticks(1), ticks(1), "confidence", "share that is right"),
        Markup('<line class="ideal" x1="{}" y1="{}" x2="{}" y2="{}"/>').format(
            *_px(frame, 0, 0), *_px(frame, 1, 1)
        ),
    ]
    parts += [_reliability_bar(frame, each) for each in bins if each["count"]]
    told = "Share of right answers in bins of confidence, against the diagonal."
    return _svg(told, frame, parts)


def counts(bins: Sequence[dict]) -> Markup:
    """Images of each bin of confidence as bars."""
    highest = max((each["count"] for each in bins), default=0) or 1
    marks = ticks(highest)
    frame = Frame((0, 1), (0, max(marks[-1], highest)), 400, 150)
    parts = [_axes(frame, ticks(1), marks, "confidence", "images")]
    parts += [
        _box(frame, each["low"], each["high"], each["count"], "fill quiet")
        for each in bins
        if each["count"]
    ]
    return _svg("Images in each bin of confidence.", frame, parts)


def bar(value: float, highest: float = 1) -> Markup:
    """A bar beside a figure that says the same, so it is hidden from those who hear it."""
    width = BAR_WIDTH * min(1, max(0, value / highest)) if highest else 0
    return Markup(
        '<svg class="bar" viewBox="0 0 {w} {h}" preserveAspectRatio="none" aria-hidden="true">'
        '<rect class="track" width="{w}" height="{h}"/>'
        '<rect class="fill" width="{v:.1f}" height="{h}"/></svg>'
    ).format(w=BAR_WIDTH, h=BAR_HEIGHT, v=width)


def stack(values: Sequence[float], highest: float) -> Markup:
    """Several figures end to end in one bar, for classes `part-0`, `part-1`, ..."""
    parts, start = [], 0.0
    for place, value in enumerate(values):
        width = BAR_WIDTH * value / (highest or 1)
        parts.append(
            Markup(
                '<rect class="part-{}" x="{:.2f}" width="{:.2f}" height="{}"/>'
            ).format(place, start, width, BAR_HEIGHT)
        )
        start += width
    return Markup(
        '<svg class="bar" viewBox="0 0 {} {}" preserveAspectRatio="none" aria-hidden="true">{}</svg>'
    ).format(BAR_WIDTH, BAR_HEIGHT, Markup("").join(parts))


def interval(low: float, value: float, high: float, reach: float) -> Markup:
    """A difference with its interval about zero, beside figures that say the same."""
    width, height = 120, 14
    middle, scale = width / 2, (width / 2 - 3) / (reach or 1)
    return Markup(
        '<svg class="interval" viewBox="0 0 {w} {h}" aria-hidden="true">'
        '<line class="zero" x1="{m}" y1="0" x2="{m}" y2="{h}"/>'
        '<line class="whisker" x1="{a:.1f}" y1="7" x2="{b:.1f}" y2="7"/>'
        '<circle class="dot" cx="{c:.1f}" cy="7" r="3"/></svg>'
    ).format(
        w=width,
        h=height,
        m=middle,
        a=middle + low * scale,
        b=middle + high * scale,
        c=middle + value * scale,
    )


def ticks(highest: float, wanted: int = 4) -> list[float]:
    """Round figures from 0 up to `highest` or a little beyond, about `wanted` steps."""
    if not math.isfinite(highest) or highest <= 0:
        return [0.0, 1.0]
    rough = highest / wanted
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(
        power * factor
        for factor in (1, 2, 2.5, 5, 10)
        if power * factor >= rough * 0.999
    )
    return [step * place for place in range(math.ceil(highest / step - 1e-9) + 1)]


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


def in_words(title: str, lines: Sequence[Line]) -> str:
    """Where each line begins and ends, for those who do not see it."""
    told = [
        f"{line.name}: from {line.points[0][1]:.4g} to {line.points[-1][1]:.4g}"
        for line in lines
        if line.points
    ]
    return f"{title} over the steps. {'; '.join(told)}."


def _svg(title: str, frame: Frame, parts: Sequence[Markup]) -> Markup:
    return Markup(
        '<svg class="chart" viewBox="0 0 {:g} {:g}" role="img"><title>{}</title>{}</svg>'
    ).format(frame.width, frame.height, title, Markup("").join(parts))


def _axes(
    frame: Frame, x: Sequence[float], y: Sequence[float], x_name: str, y_name: str
) -> Markup:
    left, right = LEFT, frame.width - RIGHT
    bottom = frame.height - BOTTOM
    parts = []
    for value in y:
        if value > frame.y[1] * 1.001:
            continue
        place = frame.down(value)
        parts.append(
            f'<line class="grid" x1="{left}" y1="{place:.1f}" x2="{right}" y2="{place:.1f}"/>'
            f'<text class="tick" x="{left - 5}" y="{place + 3.5:.1f}" text-anchor="end">'
            f"{_mark(value)}</text>"
        )
    for value in x:
        if value > frame.x[1] * 1.001:
            continue
        place = frame.across(value)
        anchor = "end" if place > right - 12 else "middle"
        parts.append(
            f'<text class="tick" x="{place:.1f}" y="{bottom + 14}" text-anchor="{anchor}">'
            f"{_mark(value)}</text>"
        )
    parts.append(
        f'<text class="axis" x="{(left + right) / 2:g}" y="{frame.height - 3:g}"'
        f' text-anchor="middle">{escape(x_name)}</text>'
        f'<text class="axis" transform="translate(10 {(TOP + bottom) / 2:g}) rotate(-90)"'
        f' text-anchor="middle">{escape(y_name)}</text>'
    )
    return Markup("".join(parts))


def _line(frame: Frame, line: Line) -> Markup:
    points = thin(line.points)
    placed = " ".join(f"{frame.across(x):.1f},{frame.down(y):.1f}" for x, y in points)
    text = f'<polyline class="line {line.kind}" points="{placed}"/>'
    if line.has_marks or len(points) == 1:
        text += "".join(
            f'<circle class="mark {line.kind}" cx="{frame.across(x):.1f}"'
            f' cy="{frame.down(y):.1f}" r="2"/>'
            for x, y in points
        )
    return Markup(text)


def _reliability_bar(frame: Frame, each: dict) -> Markup:
    x, y = _px(frame, each["confidence"], each["accuracy"])
    return _box(frame, each["low"], each["high"], each["accuracy"], "fill") + Markup(
        '<line class="gap" x1="{x:.1f}" x2="{x:.1f}" y1="{a:.1f}" y2="{b:.1f}"/>'
        '<circle class="dot" cx="{x:.1f}" cy="{b:.1f}" r="2.5"/>'
    ).format(x=x, a=frame.down(each["confidence"]), b=y)


def _box(frame: Frame, low: float, high: float, value: float, kind: str) -> Markup:
    left, right = frame.across(low) + 1, frame.across(high) - 1
    top, bottom = frame.down(value), frame.down(0)
    return Markup(
        '<rect class="{}" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"/>'
    ).format(kind, left, top, right - left, bottom - top)


def _px(frame: Frame, x: float, y: float) -> Point:
    return round(frame.across(x), 1), round(frame.down(y), 1)


def _mark(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"

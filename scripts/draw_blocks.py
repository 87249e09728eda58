"""Draws the blocks and the characteristic modules of our nets into docs/blocks/.

    python scripts/draw_blocks.py            writes all drawings
    python scripts/draw_blocks.py --check    names those that no longer fit the tables

All that is drawn is read from the tables in `trainer/nets`: kernels, strides, filters, what
follows a convolution, shapes at the size of the reference, costs. Lengths are in px of the
page; y runs down.
"""

import argparse
import io
import pathlib
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from math import prod
from typing import Protocol

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.patches import Circle, FancyBboxPatch, Polygon, Rectangle
from matplotlib.textpath import text_to_path

from trainer.nets import blocks, registry
from trainer.nets.blocks import Block, Defaults, NetSpec, Shape
from trainer.nets.cost import Cost, fold_cost

FOLDER = pathlib.Path(__file__).parents[1] / "docs" / "blocks"
STYLE = {
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "slimline",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
}
POINTS_PER_PX = 0.75

TITLE_PX, DETAIL_PX, STRIP_PX, HEADING_PX = 12, 11, 10, 14
MARGIN, GAP, SPREAD, PANEL_SPREAD = 14, 18, 10, 36

INK, FAINT = "#20262d", "#5b6570"
# Kind of box -> fill and edge.
COLOURS = {
    "conv": ("#dbe9f9", "#3f78b5"),
    "pool": ("#dff0dc", "#4f9350"),
    "dense": ("#d5efe9", "#2f8f7d"),
    "norm": ("#fdebc8", "#c58a1d"),
    "activation": ("#f9d9d6", "#c0524a"),
    "dropout": ("#e8ddf3", "#8159ae"),
    "bias": ("#eceff3", "#7c8794"),
    "join": ("#e2e5e9", "#5b6570"),
    "shape": ("#ffffff", "#9aa3ad"),
}
ACTIVATION_NAMES = {"relu": "ReLU", "leaky_relu": "leaky ReLU"}


class Canvas:
    """A white sheet of `width` x `height` px."""

    def __init__(self, width: float, height: float):
        self.figure = Figure(
            figsize=(width / 96, height / 96), dpi=96, facecolor="white"
        )
        self._axes = self.figure.add_axes((0, 0, 1, 1))
        self._axes.set(xlim=(0, width), ylim=(height, 0))
        self._axes.axis("off")

    def box(
        self,
        x: float,
        y: float,
        width: float,
        height: float,
        kind: str,
        radius: int = 4,
    ) -> None:
        fill, edge = COLOURS[kind]
        style = f"round,pad=0,rounding_size={radius}" if radius else "square,pad=0"
        self._add(
            FancyBboxPatch(
                (x, y), width, height, boxstyle=style, fc=fill, ec=edge, lw=0.9
            )
        )

    def cell(
        self,
        x: float,
        y: float,
        side: float,
        fill: str,
        edge: str = "#8a939d",
        width: float = 0.6,
    ) -> None:
        self._add(Rectangle((x, y), side, side, fc=fill, ec=edge, lw=width))

    def frame(
        self, x: float, y: float, width: float, height: float, colour: str
    ) -> None:
        self._add(Rectangle((x, y), width, height, fc="none", ec=colour, lw=1.8))

    def line(self, *points: tuple[float, float]) -> None:
        self._axes.plot(
            *zip(*points, strict=True),
            color=FAINT,
            lw=1,
            clip_on=False,
            solid_capstyle="round",
        )

    def arrow(self, *points: tuple[float, float]) -> None:
        """A line along `points` whose head touches the last one."""
        (x0, y0), (x1, y1) = points[-2:]
        length = max(abs(x1 - x0), abs(y1 - y0))
        along = np.array([(x1 - x0) / length, (y1 - y0) / length])
        tip = np.array([x1, y1])
        base, side = tip - 6 * along, 3 * along[::-1]
        self.line(*points[:-1], tuple(base))
        self._add(Polygon([tip, base + side, base - side], fc=FAINT, ec="none"))

    def circle(self, x: float, y: float, radius: float) -> None:
        fill, edge = COLOURS["join"]
        self._add(Circle((x, y), radius, fc=fill, ec=edge, lw=0.9))

    def text(
        self,
        x: float,
        y: float,
        text: str,
        size: float = DETAIL_PX,
        *,
        bold: bool = False,
        colour: str = INK,
        align: str = "center",
    ) -> None:
        """`text` with its middle at `y`."""
        # The middle of capitals is some 0.36 of the size above the base line.
        self._axes.text(
            x,
            y + 0.36 * size,
            text,
            size=size * POINTS_PER_PX,
            weight="bold" if bold else "normal",
            color=colour,
            ha=align,
            va="baseline",
        )

    def note(self, y: float, text: str, indent: float = 0) -> None:
        """A faint line from the left margin."""
        self.text(MARGIN + indent, y, text, colour=FAINT, align="left")

    def _add(self, patch: matplotlib.patches.Patch) -> None:
        patch.set_clip_on(False)
        self._axes.add_patch(patch)


def text_width(text: str, size: float, *, bold: bool = False) -> float:
    font = FontProperties(
        family="DejaVu Sans", size=size, weight="bold" if bold else "normal"
    )
    width, _, _ = text_to_path.get_text_width_height_descent(text, font, ismath=False)
    return float(np.ceil(width))


# Parts: each has a spine, the vertical line on which arrows enter and leave it.


class Part(Protocol):
    """What a drawing is laid out of: so far to the left and right of its spine."""

    left: float
    right: float
    height: float
    has_arrow: bool  # whether the line that enters it ends in a head

    def draw(self, canvas: Canvas, x: float, y: float) -> None:
        """Draws it with its spine at `x` and its top at `y`."""


class Box:
    """A layer: its name, a line below, and a strip with what follows inside the layer."""

    has_arrow = True

    def __init__(
        self,
        kind: str,
        title: str,
        details: Sequence[str] = (),
        strip: Sequence[tuple[str, str]] = (),
    ):
        self._kind, self._title, self._details, self._strip = (
            kind,
            title,
            details,
            strip,
        )
        widths = [text_width(title, TITLE_PX, bold=True)]
        widths += [text_width(detail, DETAIL_PX) for detail in details]
        self._strip_widths = [text_width(text, STRIP_PX) + 8 for _, text in strip]
        width = max(max(widths) + 14, sum(self._strip_widths), 64)
        self.left = self.right = width / 2
        self._body_height = 24 + 15 * len(details)
        self.height = self._body_height + (16 if strip else 0)

    def draw(self, canvas: Canvas, x: float, y: float) -> None:
        left, width = x - self.left, 2 * self.left
        canvas.box(left, y, width, self._body_height, self._kind)
        canvas.text(x, y + 13, self._title, TITLE_PX, bold=True)
        for line, detail in enumerate(self._details):
            canvas.text(x, y + 28 + 15 * line, detail)
        spare = (width - sum(self._strip_widths)) / max(1, len(self._strip))
        for (kind, text), needed in zip(self._strip, self._strip_widths, strict=True):
            top = y + self._body_height
            canvas.box(left, top, needed + spare, 16, kind, radius=0)
            canvas.text(left + (needed + spare) / 2, top + 8, text, STRIP_PX)
            left += needed + spare


class Pill:
    """The shape of one image between layers."""

    has_arrow = True

    def __init__(self, text: str):
        self._text = text
        self.left = self.right = text_width(text, DETAIL_PX) / 2 + 9
        self.height = 20

    def draw(self, canvas: Canvas, x: float, y: float) -> None:
        canvas.box(x - self.left, y, 2 * self.left, 20, "shape", radius=9)
        canvas.text(x, y + 10, self._text)


class Column:
    """Parts below each other, joined by arrows."""

    def __init__(self, parts: Sequence[Part]):
        self.parts = parts
        self.left = max((part.left for part in parts), default=8)
        self.right = max((part.right for part in parts), default=8)
        gaps = GAP * max(0, len(parts) - 1)
        self.height = sum(part.height for part in parts) + gaps
        self.has_arrow = bool(parts) and parts[0].has_arrow

    def draw(self, canvas: Canvas, x: float, y: float) -> None:
        for place, part in enumerate(self.parts):
            if place:
                draw_line = canvas.arrow if part.has_arrow else canvas.line
                draw_line((x, y - GAP), (x, y))
            part.draw(canvas, x, y)
            y += part.height + GAP


class Fork:
    """Branches side by side, joined in channels."""

    has_arrow = False
    _RAIL, _DROP, _BAR = 6, 16, 22

    def __init__(self, branches: Sequence[Column], label: str):
        self._branches, self._label = branches, label
        places, x = [], 0.0
        for branch in branches:
            places.append(x + branch.left)
            x += branch.left + branch.right + SPREAD
        self._spine = (places[0] + places[-1]) / 2
        self._places = [place - self._spine for place in places]
        short = text_width(label, DETAIL_PX) + 16 - (x - SPREAD)
        self.left = self._spine + max(0, short / 2)
        self.right = x - SPREAD - self._spine + max(0, short / 2)
        self._depth = max(branch.height for branch in branches)
        self.height = self._RAIL + 2 * self._DROP + self._depth + self._BAR

    def draw(self, canvas: Canvas, x: float, y: float) -> None:
        rail = y + self._RAIL
        bar = y + self.height - self._BAR
        canvas.line((x, y), (x, rail))
        canvas.line((x + self._places[0], rail), (x + self._places[-1], rail))
        for branch, place in zip(self._branches, self._places, strict=True):
            spine, top = x + place, rail + self._DROP
            enter = canvas.arrow if branch.has_arrow else canvas.line
            enter((spine, rail), (spine, top))
            branch.draw(canvas, spine, top)
            canvas.arrow((spine, top + branch.height), (spine, bar))
        canvas.box(x - self.left, bar, self.left + self.right, self._BAR, "join")
        canvas.text(x + (self.right - self.left) / 2, bar + 11, self._label)


class Skip:
    """A body and a way around it, added."""

    has_arrow = False
    _TOP, _RADIUS = 8, 9

    def __init__(self, body: Column, shortcut: Box | None, after: Box | None):
        self._body, self._shortcut, self._after = body, shortcut, after
        beside = shortcut.right if shortcut else 4
        self._way = body.left + 2 * SPREAD + beside
        self.left = self._way + beside
        self.right = max(body.right, self._RADIUS, after.right if after else 0)
        below = 2 * self._RADIUS + (GAP + after.height if after else 0)
        self._sum = self._TOP + GAP + max(body.height, self._least()) + GAP
        self.height = self._sum + below

    def _least(self) -> float:
        return self._shortcut.height if self._shortcut else 0

    def draw(self, canvas: Canvas, x: float, y: float) -> None:
        way, fork, centre = x - self._way, y + self._TOP, y + self._sum + self._RADIUS
        canvas.line((x, y), (x, fork))
        enter = canvas.arrow if self._body.has_arrow else canvas.line
        enter((x, fork), (x, fork + GAP))
        self._body.draw(canvas, x, fork + GAP)
        canvas.arrow((x, fork + GAP + self._body.height), (x, y + self._sum))
        if self._shortcut:
            top = (fork + centre - self._shortcut.height) / 2
            canvas.arrow((x, fork), (way, fork), (way, top))
            self._shortcut.draw(canvas, way, top)
            bottom = (way, top + self._shortcut.height)
        else:
            bottom = (way, fork)
            canvas.line((x, fork), bottom)
        canvas.arrow(bottom, (way, centre), (x - self._RADIUS, centre))
        canvas.circle(x, centre, self._RADIUS)
        for dx, dy in ((5, 0), (0, 5)):
            canvas.line((x - dx, centre - dy), (x + dx, centre + dy))
        if self._after:
            top = centre + self._RADIUS
            canvas.arrow((x, top), (x, top + GAP))
            self._after.draw(canvas, x, top + GAP)


# Blocks to parts.


def shape_text(shape: Shape) -> str:
    return " x ".join(f"{side:,}" if len(shape) == 1 else str(side) for side in shape)


def activation_name(kind: str) -> str:
    return ACTIVATION_NAMES.get(kind, kind)


def followers(block: blocks.Weighted, defaults: Defaults) -> list[tuple[str, str]]:
    """What a layer with weights does behind its product, in order: kind and name."""
    has_norm = defaults.norm if block.norm is None else block.norm
    bias = defaults.bias if block.bias is None else block.bias
    has_bias = not has_norm if bias is None else bias
    activation = block.activation or defaults.activation
    found = []
    if has_bias:
        found.append(("bias", "bias"))
    if has_norm:
        found.append(("norm", "BN"))
    if activation != "linear":
        found.append(("activation", activation_name(activation)))
    return found


def title_of(block: Block) -> str:
    padding = getattr(block, "padding", "SAME")
    if padding == "SAME":
        return block.describe()
    return f"{block.describe()} {'V' if padding == 'VALID' else f'pad {padding}'}"


def parts_of(block: Block, shape: Shape, defaults: Defaults) -> list[Part]:
    """`block` over one image of `shape`: mostly one part."""
    if isinstance(block, blocks.Mixed):
        return [_fork(block, shape, defaults)]
    if isinstance(block, blocks.Residual):
        return [_skip(block, shape, defaults)]
    output = shape_text(block.output_shape(shape))
    if isinstance(block, blocks.Weighted):
        kind = "dense" if isinstance(block, blocks.Dense) else "conv"
        return [Box(kind, title_of(block), [output], followers(block, defaults))]
    if isinstance(block, blocks.BatchNorm):
        return [Box("norm", "batch norm", [norm_text(defaults)])]
    if isinstance(block, blocks.Activate):
        return [Box("activation", activation_name(block.kind))]
    if isinstance(block, blocks.Dropout):
        return [Box("dropout", "dropout", [block.describe().replace("dropout, ", "")])]
    if isinstance(block, blocks.Pool | blocks.GlobalPool):
        return [Box("pool", title_of(block), [output])]
    return [Box("join", block.describe(), [output])]


def norm_text(defaults: Defaults) -> str:
    return "gamma, beta" if defaults.norm_scale else "beta only"


def chain(table: Sequence[Block], shape: Shape, defaults: Defaults) -> Column:
    """All blocks of `table` in turn."""
    parts: list[Part] = []
    for block in table:
        parts += parts_of(block, shape, defaults)
        shape = block.output_shape(shape)
    return Column(parts)


def _fork(block: blocks.Mixed, shape: Shape, defaults: Defaults) -> Fork:
    depths = [blocks.fold_shape(branch, shape)[2] for branch in block.branches]
    label = f"concat  {' + '.join(map(str, depths))}"
    return Fork([chain(branch, shape, defaults) for branch in block.branches], label)


def _skip(block: blocks.Residual, shape: Shape, defaults: Defaults) -> Skip:
    output = block.output_shape(shape)
    body = list(chain(block.body, shape, defaults).parts)
    if defaults.residual_scale != 1:
        body.append(Box("join", f"times {defaults.residual_scale}"))
    activation = block.activation or defaults.activation
    after = (
        None
        if activation == "linear"
        else Box("activation", activation_name(activation))
    )
    return Skip(Column(body), _shortcut(block, shape, output, defaults), after)


def _shortcut(
    block: blocks.Residual, shape: Shape, output: Shape, defaults: Defaults
) -> Box | None:
    if block.shortcut == "projection":
        projection = blocks.Conv(output[2], 1, block.stride, activation="linear")
        (box,) = parts_of(projection, shape, defaults)
        return box
    missing = output[2] - shape[2]
    before = missing // 2 if block.shortcut == "pad_symmetric" else 0
    lines = []
    if block.stride > 1:
        lines.append(f"stride {block.stride}")
    if missing and before:
        lines.append(f"{before} zero maps before,")
        lines.append(f"{missing - before} behind")
    elif missing:
        lines.append(f"{missing} zero maps behind")
    return Box("join", "identity", lines) if lines else None


# Panels and drawings.


@dataclass(frozen=True)
class Drawing:
    """A sheet: its size, and the function that fills it."""

    width: float
    height: float
    paint: Callable[[Canvas], None]

    def canvas(self) -> Canvas:
        canvas = Canvas(self.width, self.height)
        self.paint(canvas)
        return canvas


@dataclass(frozen=True)
class Panel:
    """A part under a heading, the first line of which is bold."""

    heading: tuple[str, ...]
    part: Part

    @property
    def width(self) -> float:
        lines = self.heading
        texts = [text_width(lines[0], HEADING_PX, bold=True)]
        texts += [text_width(line, DETAIL_PX) for line in lines[1:]]
        return max(self.part.left + self.part.right, *texts)

    @property
    def head_height(self) -> float:
        return 20 + 16 * (len(self.heading) - 1) + 8

    def draw(self, canvas: Canvas, x: float, y: float, head_height: float) -> None:
        middle = x + self.width / 2
        canvas.text(middle, y + 9, self.heading[0], HEADING_PX, bold=True)
        for line, text in enumerate(self.heading[1:]):
            canvas.text(middle, y + 27 + 16 * line, text, colour=FAINT)
        spine = middle + (self.part.left - self.part.right) / 2
        self.part.draw(canvas, spine, y + head_height)


def side_by_side(*panels: Panel) -> Drawing:
    head_height = max(panel.head_height for panel in panels)
    width = sum(panel.width for panel in panels) + PANEL_SPREAD * (len(panels) - 1)
    height = head_height + max(panel.part.height for panel in panels)

    def paint(canvas: Canvas) -> None:
        x: float = MARGIN
        for panel in panels:
            panel.draw(canvas, x, MARGIN, head_height)
            x += panel.width + PANEL_SPREAD

    return Drawing(width + 2 * MARGIN, height + 2 * MARGIN, paint)


@dataclass(frozen=True)
class Rows:
    """Consecutive rows of a net's table, and the shape they begin with."""

    spec: NetSpec
    table: tuple[Block, ...]
    shape: Shape
    times: int

    @property
    def names(self) -> list[str]:
        return [block.name for block in self.table]


def rows(net: str, first: str, last: str = "") -> Rows:
    """The rows `first` to `last`, or one row; `times` counts its like that follow it."""
    spec = registry.find(net)
    names = [name for name, _ in blocks.named(spec.blocks)]
    start, stop = names.index(first), names.index(last or first) + 1
    shape = blocks.fold_shape(
        spec.blocks[:start], (spec.image_size_px, spec.image_size_px, spec.channels)
    )
    table = spec.blocks[start:stop]
    alike = takewhile(
        lambda block: replace(block, name="") == replace(table[0], name=""),
        spec.blocks[start:],
    )
    return Rows(spec, table, shape, len(list(alike)) if len(table) == 1 else 1)


def panel(net: str, first: str, last: str = "", *, is_plain: bool = False) -> Panel:
    """Rows of a net between the shapes of its input and output, with their costs."""
    chosen = rows(net, first, last)
    spec, shape = chosen.spec, chosen.shape
    output = blocks.fold_shape(chosen.table, shape)
    make = steps if is_plain else chain
    column = make(chosen.table, shape, spec.defaults)
    ends = Pill(shape_text(shape)), Pill(shape_text(output))
    price = fold_cost(chosen.table, shape, spec.defaults)
    heading = spec.name, row_text(chosen), *cost_lines(price)
    return Panel(heading, Column([ends[0], *column.parts, ends[1]]))


def row_text(chosen: Rows) -> str:
    names = [name for name in chosen.names if name]
    if chosen.times > 1:
        return f"row {names[0]}, {chosen.times} times"
    if len(names) == 1:
        return f"row {names[0]}"
    return f"{names[0]} to {names[-1]}"


def cost_lines(price: Cost) -> list[str]:
    return [
        f"{price.parameters:,} parameters",
        f"{price.multiply_adds / 1e6:,.1f} M multiply-adds",
    ]


def steps(table: Sequence[Block], shape: Shape, defaults: Defaults) -> Column:
    """As `chain`, with each layer with weights taken apart into its steps."""
    parts: list[Part] = []
    for block in table:
        output = block.output_shape(shape)
        if isinstance(block, blocks.Weighted):
            kind = "dense" if isinstance(block, blocks.Dense) else "conv"
            after = followers(block, defaults)
            has_bias = ("bias", "bias") in after
            detail = "with bias" if has_bias else "no bias"
            parts.append(Box(kind, title_of(block), [shape_text(output), detail]))
            for step, name in after:
                if step == "norm":
                    parts.append(Box("norm", "batch norm", [norm_text(defaults)]))
                elif step == "activation":
                    parts.append(Box("activation", name))
        else:
            parts += parts_of(block, shape, defaults)
        shape = output
    return Column(parts)


# Pictures: what a block does to maps.

WINDOW_COLOURS = ("#d1495b", "#2e6f95")
WINDOW_FILLS = ("#f8d9dd", "#d3e6f1")
PADDING_FILL = "#e2e5e9"
CELL, TOP = 26, 46
# What stands between two matrices -> its width.
JOINS = {"->": 46, "times": 50, "=": 34, "": 14, "   ": 40}


@dataclass(frozen=True)
class Matrix:
    """Numbers in cells under a title; windows are (row, column, height, width) in cells."""

    title: str
    detail: str
    values: np.ndarray
    windows: Sequence[tuple[int, int, int, int]] = ()
    is_filled: bool = False

    @property
    def width(self) -> int:
        return CELL * self.values.shape[1]

    def draw(self, canvas: Canvas, x: float, y: float) -> None:
        fills = {
            place: PADDING_FILL for place, v in np.ndenumerate(self.values) if v == ""
        }
        for window, fill in zip(self.windows, WINDOW_FILLS, strict=False):
            row, column, height, width = window
            for place in np.ndindex(height, width) if self.is_filled else ():
                fills[row + place[0], column + place[1]] = fill
        for (row, column), value in np.ndenumerate(self.values):
            left, top = x + CELL * column, y + CELL * row
            canvas.cell(left, top, CELL, fills.get((row, column), "#ffffff"))
            canvas.text(left + CELL / 2, top + CELL / 2, str(value), STRIP_PX)
        for window, colour in zip(self.windows, WINDOW_COLOURS, strict=False):
            row, column, height, width = (CELL * side for side in window)
            canvas.frame(x + column, y + row, width, height, colour)


def picture(items: Sequence[Matrix | str], note: str) -> Drawing:
    """Matrices in a line, with what joins them, over a note."""
    widths = [JOINS[item] if isinstance(item, str) else item.width for item in items]
    body = CELL * max(len(item.values) for item in items if isinstance(item, Matrix))
    height = TOP + body + 30

    def paint(canvas: Canvas) -> None:
        middle = MARGIN + TOP + body / 2
        x: float = MARGIN
        for item, width in zip(items, widths, strict=True):
            centre = x + width / 2
            if isinstance(item, Matrix):
                canvas.text(centre, MARGIN + 9, item.title, TITLE_PX, bold=True)
                canvas.text(centre, MARGIN + 26, item.detail, colour=FAINT)
                item.draw(canvas, x, middle - CELL * len(item.values) / 2)
            elif item == "->":
                canvas.arrow((x + 8, middle), (x + width - 8, middle))
            else:
                canvas.text(centre, middle, item)
            x += width
        canvas.note(MARGIN + height - 6, note)

    return Drawing(sum(widths) + 2 * MARGIN, height + 2 * MARGIN, paint)


def same_padding(size_px: int, kernel_px: int, stride: int) -> tuple[int, int]:
    """Px that SAME adds before and behind."""
    windows = -(-size_px // stride)
    total = max((windows - 1) * stride + kernel_px - size_px, 0)
    return total // 2, total - total // 2


def pooled_pair(row: str, pool: blocks.Pool, maps: np.ndarray) -> list[Matrix | str]:
    """`maps` with its padding, and what `pool` makes of it; first and last window shown."""
    kernel, stride = blocks.kernel_sides(pool.kernel)[0], pool.stride
    padding = same_padding(len(maps), kernel, stride)
    padded = np.pad(maps.astype(float), padding, constant_values=np.nan)
    size = pool.output_shape((*maps.shape, 1))[0]
    pooled = np.empty((size, size))
    reduce = np.nanmax if pool.kind == "max" else np.nanmean
    for place in np.ndindex(size, size):
        top, left = (stride * side for side in place)
        pooled[place] = reduce(padded[top : top + kernel, left : left + kernel])
    as_text = np.vectorize(lambda value: "" if np.isnan(value) else f"{value:g}")
    last = size - 1
    ends = (0, 0, kernel, kernel), (last * stride, last * stride, kernel, kernel)
    results = (0, 0, 1, 1), (last, last, 1, 1)
    return [
        Matrix(row, title_of(pool), as_text(padded), ends),
        "->",
        Matrix("", "", as_text(np.round(pooled, 1)), results, is_filled=True),
    ]


def draw_pools() -> Drawing:
    reducing = rows("inception_v2", "layer2").table[0]
    smoothing = rows("inception_v4", "a1").table[0].branches[0][0]
    numbers = (np.arange(64) ** 2 // 5 % 23).reshape(8, 8)
    return picture(
        [
            *pooled_pair("inception_v2, layer2", reducing, numbers[:6, :6]),
            "   ",
            *pooled_pair("inception_v4, a1", smoothing, numbers[2:6, 2:6]),
        ],
        "Gray: padding, which counts neither for the maximum nor for the mean.",
    )


def draw_im2col() -> Drawing:
    chosen = rows("inception_v2", "layer4")
    (block,) = chosen.table
    height_px, width_px, filters = block.output_shape(chosen.shape)
    columns = prod(blocks.kernel_sides(block.kernel)) * chosen.shape[2]
    image = np.array([[3, 1, 4, 1], [5, 9, 2, 6], [5, 3, 5, 8], [9, 7, 9, 3]])
    kernels = np.array([[1, 0], [0, 1], [0, -1], [1, 0]])
    toy = blocks.Conv(2, 2, padding="VALID")
    size = toy.output_shape((*image.shape, 1))[0]
    corners = list(np.ndindex(size, size))
    patches = np.array(
        [image[row : row + 2, column : column + 2].ravel() for row, column in corners]
    )
    products = patches @ kernels
    marked = 0, len(corners) // 2  # the first window and the middle one

    def matrix(title: str, values: np.ndarray, windows: Sequence = ()) -> Matrix:
        text = f"{values.shape[0]} x {values.shape[1]}"
        return Matrix(title, text, values, windows, is_filled=values is not image)

    maps = [
        matrix(
            f"map {number + 1}",
            products[:, number].reshape(size, size),
            [(*corners[mark], 1, 1) for mark in marked],
        )
        for number in range(toy.filters)
    ]
    return picture(
        [
            matrix("image", image, [(*corners[mark], 2, 2) for mark in marked]),
            "->",
            matrix("patches", patches, [(mark, 0, 1, 4) for mark in marked]),
            "times",
            matrix("kernels", kernels),
            "=",
            matrix("products", products, [(mark, 0, 1, 2) for mark in marked]),
            "->",
            maps[0],
            "",
            maps[1],
        ],
        f"{title_of(toy)}, {toy.filters} filters. In {chosen.spec.name}, "
        f"{row_text(chosen)}: {height_px * width_px:,} x {columns} patches times "
        f"{columns} x {filters} kernels.",
    )


def draw_separable() -> Drawing:
    chosen = rows("inception_v2", "layer1")
    (block,) = chosen.table
    *size, filters = block.output_shape(chosen.shape)
    channels, multiplier = chosen.shape[2], block.depth_multiplier
    sides, maps = blocks.kernel_sides(block.kernel), channels * multiplier
    weights = prod(sides) * maps, maps * filters
    plain = blocks.Conv(filters, sides, block.stride)
    top, body = MARGIN + 52, 168
    middle = top + body / 2

    def paint(canvas: Canvas) -> None:
        name = chosen.spec.name
        canvas.text(MARGIN, MARGIN + 9, name, HEADING_PX, bold=True, align="left")
        canvas.note(
            MARGIN + 28,
            f"{row_text(chosen)}: {block.describe()}, {multiplier} maps a channel",
        )
        _paint_depthwise(canvas, top, body, channels, multiplier)
        _paint_maps(canvas, 478, middle - 48, filters)
        canvas.arrow((318, middle), (466, middle))
        names = block.describe().replace("separable conv", "depthwise"), "pointwise 1x1"
        for x, step, count in zip((143, 392), names, weights, strict=True):
            canvas.text(x, middle - 38, step, bold=True)
            canvas.text(x, middle - 22, f"{count:,} weights", colour=FAINT)
        shapes = chosen.shape, (*size, maps), (*size, filters)
        for x, shape in zip((MARGIN + 40, 265, 526), shapes, strict=True):
            canvas.text(x, top + body + 16, shape_text(shape))
        canvas.arrow((580, middle), (600, middle))
        after = followers(block, chosen.spec.defaults)
        for place, (kind, step) in enumerate(after):
            y = middle + 24 * (place - len(after) / 2)
            canvas.box(600, y, 62, 22, kind)
            canvas.text(631, y + 11, step)
        canvas.note(
            top + body + 44,
            f"A plain {plain.describe()} would have {prod(sides) * channels * filters:,} "
            f"weights in place of {sum(weights):,}.",
        )

    return Drawing(676, top + body + 54 + MARGIN, paint)


def _paint_depthwise(
    canvas: Canvas, top: float, body: float, channels: int, multiplier: int
) -> None:
    """Each channel, and the maps made of it alone."""
    tints = ("#e07a7a", "#7ab87a", "#7a9fe0")
    for channel in range(channels):
        tint = tints[channel % len(tints)]
        y = top + body / channels * (channel + 0.5)
        canvas.cell(MARGIN + 20, y - 20, 40, tint)
        canvas.arrow((MARGIN + 66, y), (212, y))
        for copy in range(multiplier):
            canvas.cell(222 + 22 * (copy % 4), y - 21 + 22 * (copy // 4), 20, tint)


def _paint_maps(canvas: Canvas, x: float, y: float, filters: int) -> None:
    """So many small maps in a square."""
    side = int(np.ceil(filters**0.5))
    for place in range(filters):
        canvas.cell(x + 12 * (place % side), y + 12 * (place // side), 11, "#b9c2cc")


def draw_dropout() -> Drawing:
    spatial = next(
        block
        for block in registry.find("hw_net").blocks
        if isinstance(block, blocks.Dropout) and block.spatial
    )
    count, side, cell = 8, 6, 12
    draws = np.random.RandomState(7)
    levels = draws.uniform(0.25, 0.9, (count, side, side))

    def dropped(things: int) -> np.ndarray:
        return draws.permutation(things) < round(things * (1 - spatial.keep_prob))

    whole = np.broadcast_to(dropped(count)[:, None, None], levels.shape)
    single = dropped(levels.size).reshape(levels.shape)
    ordinary = replace(spatial, spatial=False)
    bands = (ordinary, "each value by itself", single), (spatial, "whole maps", whole)
    map_px, band_px = side * cell + 10, side * cell + 44

    def paint(canvas: Canvas) -> None:
        for band, (block, what, is_dropped) in enumerate(bands):
            y, name = MARGIN + band * band_px, block.describe()
            canvas.text(MARGIN, y + 9, name, TITLE_PX, bold=True, align="left")
            canvas.note(y + 9, what, text_width(name, TITLE_PX, bold=True) + 12)
            for (place, row, column), is_gone in np.ndenumerate(is_dropped):
                shade = 1 - levels[place, row, column] * np.array([0.75, 0.5, 0.25])
                tint = "#" + "".join(f"{round(255 * part):02x}" for part in shade)
                canvas.cell(
                    MARGIN + place * map_px + column * cell,
                    y + 24 + row * cell,
                    cell,
                    "#ffffff" if is_gone else tint,
                    edge="#c3c9d0",
                )
        canvas.note(
            MARGIN + 2 * band_px + 8,
            f"{count} maps of one image in training. White: set to 0; the rest is "
            f"multiplied by 1 / {spatial.keep_prob}.",
        )

    width = count * map_px - 10
    return Drawing(width + 2 * MARGIN, 2 * band_px + 14 + 2 * MARGIN, paint)


def one(net: str, first: str, last: str = "") -> Callable[[], Drawing]:
    """Drawing of some rows of one net."""
    return lambda: side_by_side(panel(net, first, last))


def draw_convolutions() -> Drawing:
    return side_by_side(
        panel("inception_v2", "layer4", is_plain=True),
        panel("inception_v4", "stem/conv3", is_plain=True),
        panel("cnn_leaky", "conv1", "norm1", is_plain=True),
        panel("vgg_16", "conv2", is_plain=True),
    )


def draw_dense() -> Drawing:
    return side_by_side(
        panel("hw_net", "flatten", "dense1_relu", is_plain=True),
        panel("alexnet", "flatten", "dropout7", is_plain=True),
        panel("cnn_dropout", "flatten", "dropout", is_plain=True),
        panel("mlp_bn", "flatten", "fc1", is_plain=True),
    )


def draw_pairs() -> Drawing:
    return side_by_side(
        panel("cnn_bn", "conv6", "norm6"), panel("cnn_3x3", "conv6a", "norm6b")
    )


DRAWINGS: dict[str, Callable[[], Drawing]] = {
    "convolution": draw_convolutions,
    "separable_convolution": draw_separable,
    "pool": draw_pools,
    "im2col": draw_im2col,
    "dense": draw_dense,
    "dropout": draw_dropout,
    "inception_v1": one("googlenet", "3a"),
    "inception_v2": one("inception_v2", "3b"),
    "inception_v2_reduction": one("inception_v2", "3c"),
    "inception_v4_stem": one("inception_v4", "stem/conv1", "stem/mixed3"),
    "inception_v4_a": one("inception_v4", "a1"),
    "inception_v4_reduction_a": one("inception_v4", "reduction_a"),
    "inception_v4_b": one("inception_v4", "b1"),
    "inception_v4_reduction_b": one("inception_v4", "reduction_b"),
    "inception_v4_c": one("inception_v4", "c1"),
    "inception_resnet_a": one("inception_resnet_v2", "a1"),
    "inception_resnet_b": one("inception_resnet_v2", "b1"),
    "inception_resnet_c": one("inception_resnet_v2", "c1"),
    "residual_mnist": one("resnet_34_mnist", "group2/halving", "group2/unit1"),
    "residual_basic": one("resnet_20", "group2/unit1"),
    "residual_projection": one("resnet_18", "group2/unit1"),
    "residual_bottleneck": one("resnet_50", "group2/unit1"),
    "hw_module": one("hw_net", "inception2", "inception2_relu"),
    "cnn_concat": one("cnn_all_tricks", "concat5", "norm5"),
    "cnn_pair": draw_pairs,
}


def render(name: str) -> str:
    """The drawing called `name` as SVG, the same bytes each time."""
    with matplotlib.rc_context(STYLE):
        figure = DRAWINGS[name]().canvas().figure
        file = io.StringIO()
        FigureCanvasSVG(figure).print_svg(
            file, metadata={"Title": f"slimline: {name}", "Date": None, "Creator": None}
        )
    return "\n".join(line.rstrip() for line in file.getvalue().splitlines()) + "\n"


def render_png(name: str, path: pathlib.Path) -> None:
    """The same drawing as PNG, to look at."""
    with matplotlib.rc_context(STYLE):
        figure = DRAWINGS[name]().canvas().figure
        FigureCanvasAgg(figure).print_png(str(path))


def stale() -> list[str]:
    """Files in docs/blocks/ that are missing, differ from the tables, or are left over."""
    found = {path.name for path in FOLDER.glob("*.svg")}
    wanted = {f"{name}.svg": name for name in DRAWINGS}
    differing = {
        file
        for file in found & wanted.keys()
        if (FOLDER / file).read_text(encoding="utf-8") != render(wanted[file])
    }
    return sorted(found ^ wanted.keys() | differing)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--check",
        action="store_true",
        help="write nothing; exit 1 if a drawing is stale",
    )
    parser.add_argument(
        "--png", type=pathlib.Path, metavar="FOLDER", help="PNGs into FOLDER instead"
    )
    options = parser.parse_args(arguments)
    if options.check:
        names = stale()
        for name in names:
            print(f"docs/blocks/{name} no longer fits the tables", file=sys.stderr)
        return 1 if names else 0
    if options.png:
        options.png.mkdir(parents=True, exist_ok=True)
        for name in DRAWINGS:
            render_png(name, options.png / f"{name}.png")
        return 0
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name in DRAWINGS:
        (FOLDER / f"{name}.svg").write_text(render(name), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

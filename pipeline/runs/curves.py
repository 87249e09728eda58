"""Curves of trainings as pictures: one training in full, or several over each other."""

import math
import pathlib
from collections.abc import Mapping
from typing import TYPE_CHECKING

from trainer import history

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FILE = "curves.png"
HEIGHT_INCHES = 4.2
PANEL_INCHES = 4.8
DOTS_PER_INCH = 120


def draw_run(folder: pathlib.Path, path: pathlib.Path, title: str) -> None:
    """Loss, top-1 and rate of one training over its steps, as PNG.

    Args:
      folder: with the tables of the training.
      path: of the picture.
      title: above it.
    """
    figure, (loss_axes, top_1_axes, rate_axes) = _figure(3)
    losses = list(history.read(history.losses(folder)))
    measured = list(history.read(history.measurements(folder)))
    steps = [row["step"] for row in losses]
    loss_axes.plot(steps, [row["loss"] for row in losses], linewidth=1.0)
    top_1_axes.plot(
        steps,
        [row["accuracy"] for row in losses],
        color="0.75",
        linewidth=1.0,
        label="train, a batch each",
    )
    names = {
        name for row in measured for name in row if name.startswith(history.EVAL_TOP_1)
    }
    for name in sorted(names, reverse=True):
        weights = name.removeprefix(history.EVAL_TOP_1)
        top_1_axes.plot(
            [row["step"] for row in measured],
            [row.get(name, math.nan) for row in measured],
            linewidth=1.4,
            marker="o",
            markersize=3,
            label=f"eval, {'averaged' if weights == 'ema' else weights} weights",
        )
    best = max(measured, key=history.eval_top_1, default=None)
    if best:
        top_1_axes.annotate(
            f"{history.eval_top_1(best):.4f}",
            (best["step"], history.eval_top_1(best)),
            xytext=(0, 8),
            textcoords="offset points",
            ha="center",
            fontsize=8,
        )
    top_1_axes.legend(loc="lower right", fontsize=8)
    rate_axes.plot(steps, [row["learning_rate"] for row in losses], linewidth=1.4)
    rate_axes.set_ylabel("learning rate")
    figure.suptitle(title, fontsize=10)
    _save(figure, path)


def draw_members(
    folders: Mapping[str, pathlib.Path], path: pathlib.Path, title: str = ""
) -> None:
    """Loss and eval top-1 over the steps, a line a training, as PNG.

    Args:
      folders: by name, with the tables of each training.
      path: of the picture.
      title: above it; '' for none.
    """
    # Slow to load, and needed at the end of a training only.
    import matplotlib

    figure, (loss_axes, top_1_axes) = _figure(2)
    colours = matplotlib.colormaps["tab10"]
    for place, (member, folder) in enumerate(folders.items()):
        colour = colours(place % colours.N)
        losses = list(history.read(history.losses(folder)))
        measured = list(history.read(history.measurements(folder)))
        loss_axes.plot(
            [row["step"] for row in losses],
            [row["loss"] for row in losses],
            color=colour,
            linewidth=1.2,
            label=member,
        )
        top_1_axes.plot(
            [row["step"] for row in measured],
            [history.eval_top_1(row) for row in measured],
            color=colour,
            linewidth=1.4,
            marker="o",
            markersize=4,
        )
    figure.legend(loc="outside right upper", frameon=False)
    if title:
        figure.suptitle(title, fontsize=10)
    _save(figure, path)


def _figure(panels: int) -> "tuple[Figure, list[Axes]]":
    """A figure whose first panels are for loss and top-1."""
    from matplotlib.figure import Figure

    figure = Figure(
        figsize=(PANEL_INCHES * panels, HEIGHT_INCHES),
        dpi=DOTS_PER_INCH,
        layout="constrained",
    )
    all_axes = list(figure.subplots(1, panels))
    for axes in all_axes:
        axes.set_xlabel("step")
        axes.grid(alpha=0.3)
    all_axes[0].set_ylabel("loss of the batch")
    all_axes[1].set_ylabel("top-1")
    return figure, all_axes


def _save(figure: "Figure", path: pathlib.Path) -> None:
    # Limits come after the lines: the other end follows from them.
    for axes in figure.axes:
        axes.set_xlim(left=0)
        axes.set_ylim(bottom=0)
    figure.axes[1].set_ylim(0, 1)
    figure.savefig(path, format="png")

"""The picture of `slimline predict --explain`: images with their heat maps."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from report import heat_maps
from slimline.terminal import output

if TYPE_CHECKING:
    from trainer.explaining import Explanation

# Images side by side; each has two panels, the image and its heat map.
MAX_COLUMNS = 3
PANEL_INCHES = 1.7
# Room for the captions of a row, and for the note below all.
CAPTION_INCHES, NOTE_INCHES = 0.45, 0.3
DOTS_PER_INCH = 120
# Small images are enlarged to this, for a smooth heat map.
MIN_SIDE_PX = 256
MAX_CHARACTERS = 44
NOTE = "right: evidence for the class, from none (blue) to most (yellow)"


def draw(
    explanations: "Sequence[Explanation]",
    files: Sequence[str],
    truth: Mapping[str, str],
    path: pathlib.Path,
) -> None:
    """Writes the picture.

    Args:
      explanations: one a file.
      files: their names, for the captions.
      truth: file -> true class, of those where it is known.
      path: of the PNG.

    Raises:
      OSError: it cannot be written.
    """
    # Not needed elsewhere in this command, and slow to load.
    from matplotlib.figure import Figure

    columns = min(MAX_COLUMNS, len(files))
    rows = -(-len(files) // columns)
    figure = Figure(
        figsize=(
            2 * PANEL_INCHES * columns + 0.2 * (columns + 1),
            (PANEL_INCHES + CAPTION_INCHES) * rows + NOTE_INCHES,
        ),
        dpi=DOTS_PER_INCH,
        layout="constrained",
    )
    cells = figure.subfigures(rows, columns, squeeze=False).ravel()
    for cell, explained, file in zip(cells, explanations, files, strict=False):
        left, right = cell.subplots(1, 2)
        left.imshow(
            explained.image.squeeze(-1 if explained.image.shape[2] == 1 else ()),
            cmap="gray",
            vmin=0,
            vmax=255,
            interpolation="nearest",
        )
        right.imshow(heat_maps.blend(explained.image, explained.heat, MIN_SIDE_PX))
        for axes in (left, right):
            axes.set_axis_off()
        cell.suptitle(
            f"{_caption(file)}\n{_answer(explained, truth.get(file))}",
            fontsize=8,
            parse_math=False,
        )
    figure.supxlabel(NOTE, fontsize=7, color="0.35")
    figure.savefig(path, format="png")


def _caption(file: str) -> str:
    """The end of a path, which says more than its beginning."""
    shown = output.printable(output.one_line(file))
    return shown if len(shown) <= MAX_CHARACTERS else f"…{shown[1 - MAX_CHARACTERS :]}"


def _answer(explained: "Explanation", true: str | None) -> str:
    answer = f"{explained.label} {explained.score:.3f}"
    if true is None or true == explained.label:
        return output.printable(answer)
    return output.printable(f"{answer}, true {true}")

"""Contents of the sections curves, augmentation and configuration."""

import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from common import run_files
from report import curves as panels
from report import drawing, thumbnails
from report.run_data import RunData
from trainer import history


def curves(data: RunData) -> dict[str, Any]:
    """Loss, accuracy and rate over the steps."""
    # A fitted class layer has no losses of steps.
    losses = [history.LOSSES_FILE] if data.summary["steps"] else []
    missing = [
        f"gone: {data.folder / name}"
        for name in (*losses, history.HISTORY_FILE)
        if not (data.folder / name).is_file()
    ]
    return {
        "panels": [
            (panel.title, drawing.curves(panel))
            for panel in panels.of_run(data.folder)
            if panel.drawn
        ],
        "heads": list(history.read(history.heads(data.folder))),
        "missing": missing,
    }


def augmentation_rows(grid: np.ndarray, names: Sequence[str]) -> list[dict[str, Any]]:
    """A row for each image: as evaluation sees it, then as training does.

    Args:
      grid: uint8 [n, 1 + variants, height, width, channels].
      names: class of each image.
    """
    return [
        {"name": name, "sources": [thumbnails.of_pixels(pixels) for pixels in row]}
        for name, row in zip(names, grid, strict=True)
    ]


def configuration(data: RunData) -> dict[str, Any]:
    """Settings and artifacts."""
    unchanged = ("", "default", "experiment")
    changed = [each for each in data.settings if each.origin not in unchanged]
    missing = [] if data.settings else [f"gone: {data.folder / run_files.CONFIG_FILE}"]
    return {
        "changed": changed,
        "settings": data.settings,
        "artifacts": [
            (component, key, uri, pathlib.Path(uri).exists())
            for component, outputs in data.summary["artifacts"].items()
            for key, uris in outputs.items()
            for uri in uris
        ],
        "missing": missing,
    }

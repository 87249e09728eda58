"""Curves of trainings as pictures: one training in full, or several over each other."""

import pathlib
from collections.abc import Mapping

from report import curves, drawing

FILE = "curves.png"


def draw_run(folder: pathlib.Path, path: pathlib.Path, title: str) -> None:
    """Loss, top-1 and rate of one training over its steps, as PNG.

    Args:
      folder: with the tables of the training.
      path: of the picture.
      title: above it.
    """
    drawing.save(curves.of_run(folder), path, title)


def draw_members(
    folders: Mapping[str, pathlib.Path], path: pathlib.Path, title: str = ""
) -> None:
    """Loss, eval top-1 and rate over the steps, a line a training, as PNG.

    Args:
      folders: by name, with the tables of each training.
      path: of the picture.
      title: above it; '' for none.
    """
    drawing.save(curves.of_runs(folders), path, title)

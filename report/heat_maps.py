"""Heat maps over images, and those of a run's test images."""

import pathlib
from collections.abc import Mapping

import numpy as np
import pandas as pd
import tensorflow as tf
from PIL import Image

from common import run_files
from common.errors import SlimlineError
from report import thumbnails
from report.run_data import RunData
from trainer import explaining

# Its lightness rises evenly, for readers without colour vision.
COLOURS = "plasma"
OPACITY = 0.6


def blend(image: np.ndarray, heat: np.ndarray, min_side_px: int) -> np.ndarray:
    """The image in gray under its heat map: blue for no evidence, yellow for most.

    Args:
      image: uint8 [height, width, channels], 1 or 3 channels.
      heat: float32 [rows, columns] in [0, 1], of any size; interpolated bilinearly.
      min_side_px: smaller images are enlarged by a whole factor to at least this height
        and width.

    Returns:
      uint8 [new height, new width, 3].
    """
    # Takes a second to load.
    from matplotlib import colormaps

    factor = max(1, -(-min_side_px // min(image.shape[:2])))
    gray = Image.fromarray(image[..., 0] if image.shape[2] == 1 else image).convert("L")
    size = (gray.width * factor, gray.height * factor)
    levels = np.asarray(gray.resize(size, Image.Resampling.NEAREST), np.float32)
    smooth = Image.fromarray(heat.astype(np.float32)).resize(
        size, Image.Resampling.BILINEAR
    )
    colours = 255 * colormaps[COLOURS](np.asarray(smooth))[..., :3]
    mixed = (1 - OPACITY) * levels[..., None] + OPACITY * colours
    return np.rint(mixed).astype(np.uint8)


def of_run(
    data: RunData, rows: pd.DataFrame, encoded: Mapping[str, bytes]
) -> tuple[dict[str, str], list[str]]:
    """Heat maps of test images for the classes that the model predicted.

    Args:
      data: of the run.
      rows: of predictions.
      encoded: key -> JPEG or PNG; rows without one get no heat map.

    Returns:
      Key -> thumbnail of the blended image; and, where there are none, a sentence why.
    """
    shown = [row for row in rows.itertuples(index=False) if row.key in encoded]
    if not shown:
        return {}, []
    folder = _model_folder(data)
    if folder is None:
        return {}, ["no heat maps: the model of the run is gone"]
    try:
        found = explaining.explain(
            folder,
            [encoded[row.key] for row in shown],
            [data.labels[row.predicted] for row in shown],
        )
    except SlimlineError as error:
        return {}, [f"no heat maps: {error.message}"]
    except (ValueError, tf.errors.OpError) as error:
        # The model has other classes or channels than the images.
        return {}, [f"no heat maps: {type(error).__name__}: {str(error)[:300]}"]
    addresses = {
        row.key: thumbnails.of_pixels(
            blend(each.image, each.heat, thumbnails.MAX_SIDE_PX)
        )
        for row, each in zip(shown, found, strict=True)
    }
    return addresses, []


def _model_folder(data: RunData) -> pathlib.Path | None:
    """Folder of the trained model, else of the pushed one; None where both are gone."""
    folders = []
    if trained := data.uri("train", "model"):
        folders.append(trained / run_files.SERVED_FOLDER)
    if pushed := data.summary.get("pushed_path"):
        folders.append(pathlib.Path(pushed))
    return next((folder for folder in folders if folder.is_dir()), None)

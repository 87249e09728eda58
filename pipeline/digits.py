"""The data of the default experiment: scikit-learn's handwritten digits as PNG folders.

1,797 images of 8x8 px with 17 gray levels, inside the installed scikit-learn: no download.
Source: E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI Machine
Learning Repository, 1998 (its test part).
"""

import pathlib
import shutil
import uuid

import numpy as np
from PIL import Image

NAME = "digits"
MAX_LEVEL = 16.0


def write_folders(folder: pathlib.Path) -> pathlib.Path:
    """Writes `folder`/<digit>/<number>.png where it is missing; returns `folder`."""
    if folder.is_dir():
        return folder
    # Takes a second to import.
    from sklearn import datasets

    images, labels = datasets.load_digits(return_X_y=True)
    pixels = np.rint(images.reshape(-1, 8, 8) * (255.0 / MAX_LEVEL)).astype(np.uint8)
    # Renamed when complete: an interrupted call leaves no partial data set.
    staging = folder.with_name(f".{folder.name}-{uuid.uuid4().hex}")
    try:
        for number, (image, label) in enumerate(zip(pixels, labels, strict=True)):
            path = staging / str(label) / f"{number:04}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image, mode="L").save(path)
        staging.replace(folder)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return folder

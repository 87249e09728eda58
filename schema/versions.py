"""The layout of pushed models: `<serving>/<model name>/<version>/saved_model.pb`.

TensorFlow Serving serves the folder with the largest integer as its name and ignores
names that are not integers.
"""

import pathlib

SERVING_FOLDER = "serving"  # below the root of the runs
SAVED_MODEL_FILE = "saved_model.pb"


def numbers(folder: pathlib.Path) -> list[int]:
    """Complete versions in a model's folder, oldest first."""
    if not folder.is_dir():
        return []
    return sorted(
        int(path.name)
        for path in folder.iterdir()
        if path.name.isdecimal() and (path / SAVED_MODEL_FILE).is_file()
    )


def newest(folder: pathlib.Path) -> int | None:
    """The version that TensorFlow Serving would serve, or None."""
    found = numbers(folder)
    return found[-1] if found else None

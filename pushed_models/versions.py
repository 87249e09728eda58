"""The layout of pushed models: `<serving>/<model name>/<version>/saved_model.pb`.

TensorFlow Serving ignores names that are not integers. Which of the versions it serves is
decided in `pushed_models.models_config`.
"""

import pathlib

SERVING_FOLDER = "serving"  # below the root of the runs
SAVED_MODEL_FILE = "saved_model.pb"
# Of copies in progress and of versions on their way out: no integers, so no server looks.
STAGING_PREFIX = ".staging-"
# Ends the names of models that `--tiny` makes: never one that is meant to be served.
TINY_SUFFIX = "-tiny"
TRAIN_TIP = "slimline run trains and pushes one; --root DIR looks elsewhere"
MAX_NUMBER = 2**63 - 1  # TensorFlow Serving counts in int64


def numbers(folder: pathlib.Path) -> list[int]:
    """Complete versions in a model's folder, oldest first."""
    return [
        number
        for number in present(folder)
        if (folder / str(number) / SAVED_MODEL_FILE).is_file()
    ]


def folders(folder: pathlib.Path) -> dict[int, pathlib.Path]:
    """Complete versions as TensorFlow Serving finds them: number -> folder.

    Only servers may take them so: '00000123' is version 123, unless '123' is there as well.
    """
    if not folder.is_dir():
        return {}
    named = (path for path in folder.iterdir() if _is_decimal(path.name))
    return {
        int(path.name): path
        for path in sorted(named, key=lambda path: -len(path.name))
        if (path / SAVED_MODEL_FILE).is_file()
    }


def present(folder: pathlib.Path) -> list[int]:
    """All versions in a model's folder, complete or not, oldest first."""
    if not folder.is_dir():
        return []
    return sorted(int(path.name) for path in folder.iterdir() if _is_number(path.name))


def newest(folder: pathlib.Path) -> int | None:
    """The complete version with the largest number, or None."""
    found = numbers(folder)
    return found[-1] if found else None


def _is_number(name: str) -> bool:
    """Whether a folder is a version; '007' is not, whose number has another name."""
    return _is_decimal(name) and name == str(int(name))


def _is_decimal(name: str) -> bool:
    is_decimal = name.isascii() and name.isdecimal()
    return is_decimal and int(name) <= MAX_NUMBER

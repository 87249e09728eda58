"""Folders of unfinished trainings, found again by what the training depends on.

TFX gives every execution a new folder, so a killed training would start again. Ours works in
`<folder of the Trainer>/unfinished/<key>/`, where the key is a digest of its causes, and
moves the whole folder to its place in TFX when it is done.
"""

import hashlib
import json
import logging
import pathlib
import shutil
from collections.abc import Iterable, Mapping
from typing import Any

from storage import durable

_LOGGER = logging.getLogger("slimline.train")
_PROGRESS = logging.getLogger("slimline.progress")

FOLDER = "unfinished"
CAUSES_FILE = "causes.json"
KEY_CHARACTERS = 16
# Folders of other settings that are kept.
KEPT = 3


def folder_of(trainer_root: pathlib.Path) -> pathlib.Path:
    """Folder of the unfinished trainings of a Trainer, whose own is `trainer_root`."""
    return trainer_root / FOLDER


def claim(model_run_dir: pathlib.Path, causes: Mapping[str, Any]) -> pathlib.Path:
    """The folder to train in, made where there is none yet.

    Args:
      model_run_dir: `<folder of the Trainer>/<channel>/<execution>`, as TFX gives it.
      causes: all that the training depends on, fit for JSON.
    """
    root = folder_of(model_run_dir.parents[1])
    text = json.dumps(causes, sort_keys=True, default=str)
    folder = root / key_of(text)
    folder.mkdir(parents=True, exist_ok=True)
    durable.write_text(folder / CAUSES_FILE, text)
    folder.touch()
    others = (path for path in root.iterdir() if path.is_dir() and path != folder)
    for path in prune(others):
        _LOGGER.info("removed the unfinished training %s", path)
    _PROGRESS.info("train_folder", extra={"fields": {"folder": str(folder)}})
    return folder


def precision_of(trainer_root: pathlib.Path, config: Mapping[str, Any]) -> str:
    """Precision of the newest unfinished training of these settings, or ''.

    Args:
      trainer_root: folder of the Trainer.
      config: of the Trainer, as a dict; its own precision does not matter.
    """
    begun = folder_of(trainer_root).glob(f"*/{CAUSES_FILE}")
    wanted = json.loads(json.dumps(_without_precision(config)))
    for file in sorted(begun, key=lambda file: file.stat().st_mtime, reverse=True):
        try:
            causes = json.loads(file.read_text(encoding="utf-8"))
            same = _without_precision(causes["custom_config"]["config"]) == wanted
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            continue
        if same and "precision" in causes:
            return str(causes["precision"])
    return ""


def finish(folder: pathlib.Path, model_run_dir: pathlib.Path) -> None:
    """Moves a finished training to its place, at once."""
    model_run_dir.parent.mkdir(parents=True, exist_ok=True)
    if model_run_dir.is_dir():
        model_run_dir.rmdir()  # TFX makes it beforehand, empty
    folder.rename(model_run_dir)


def forget(trainer_root: pathlib.Path) -> None:
    """Removes all unfinished trainings of a Trainer."""
    shutil.rmtree(folder_of(trainer_root), ignore_errors=True)


def _without_precision(config: Mapping[str, Any]) -> dict[str, Any]:
    train = {key: value for key, value in config["train"].items() if key != "precision"}
    return {**config, "train": train}


def key_of(text: str) -> str:
    """Name of a folder: a digest of what its content depends on."""
    return hashlib.sha256(text.encode()).hexdigest()[:KEY_CHARACTERS]


def prune(folders: Iterable[pathlib.Path]) -> list[pathlib.Path]:
    """Removes all but the `KEPT` newest folders; returns those it removed."""
    newest_first = sorted(folders, key=lambda path: path.stat().st_mtime, reverse=True)
    for path in newest_first[KEPT:]:
        shutil.rmtree(path, ignore_errors=True)
    return newest_first[KEPT:]

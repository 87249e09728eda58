"""Checkpoints with a commit record.

TensorFlow's Saver does not sync its files to disk, and with a damaged `checkpoint` state file
it silently starts again at step 0. Here a checkpoint of step n is `model.ckpt-n.*` and
`commit-n.json`, which lists every file with size and SHA-256, holds the state that is no
variable, and is written last. A reader takes the newest record whose files all match.
"""

import dataclasses
import hashlib
import json
import logging
import pathlib
import re
import shutil
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from common.errors import TrainError
from storage import durable

_LOGGER = logging.getLogger("slimline.train")
# Exists while the first checkpoint is written: data files without a record are then no loss.
FIRST_SAVE = "first-save"
_COMMIT = re.compile(r"commit-(\d+)\.json")


@dataclasses.dataclass(frozen=True)
class CheckpointStore:
    """The checkpoints of one training, in a folder of their own."""

    folder: pathlib.Path

    def path(self, step: int) -> str:
        """Path of the checkpoint of `step`, as a Saver takes it."""
        return str(self.folder / f"model.ckpt-{step}")

    def save(
        self,
        session: tf.compat.v1.Session,
        saver: tf.compat.v1.train.Saver,
        step: int,
        state: Mapping[str, Any],
    ) -> str:
        """Writes and commits the checkpoint of `step`; returns its path.

        Args:
          session: holds the variables.
          saver: of them.
          step: updates applied.
          state: of the training besides the variables, fit for JSON.
        """
        return self._write(
            step,
            state,
            lambda path: saver.save(
                session, path, write_meta_graph=False, write_state=False
            ),
        )

    def put(
        self, step: int, values: Mapping[str, np.ndarray], state: Mapping[str, Any]
    ) -> str:
        """As `save`, with values by the name of their variable."""
        return self._write(step, state, lambda path: write_values(path, values))

    def _write(
        self, step: int, state: Mapping[str, Any], write: Callable[[str], object]
    ) -> str:
        self.folder.mkdir(parents=True, exist_ok=True)
        first = self.folder / FIRST_SAVE
        is_first = not self.steps()
        if is_first:
            durable.write_text(first, "")
        path = self.path(step)
        write(path)
        files = {}
        for file in self._files(step):
            durable.sync(file)
            files[file.name] = {"bytes": file.stat().st_size, "sha256": _sha256(file)}
        self._commit(step, {"step": step, "files": files, "state": state})
        if is_first:
            first.unlink(missing_ok=True)
        return path

    def amend(self, step: int, state: Mapping[str, Any]) -> None:
        """Replaces the state in the commit record of `step`."""
        self._commit(step, self._record(step) | {"state": state})

    def state(self, step: int) -> dict[str, Any]:
        """The state that belongs to the checkpoint of `step`."""
        return self._record(step)["state"]

    def steps(self) -> list[int]:
        """Committed steps, newest first, verified or not."""
        matches = (_COMMIT.fullmatch(file.name) for file in self._listing())
        return sorted((int(match[1]) for match in matches if match), reverse=True)

    def latest(self) -> int | None:
        """Newest step whose files are whole; None before the first commit.

        Raises:
          TrainError: there are files, but no whole checkpoint. To start again at step 0
            would hide the loss.
        """
        for step in self.steps():
            if damage := self._damage(step):
                _LOGGER.warning("checkpoint of step %d is damaged: %s", step, damage)
            else:
                return step
        was_first = (self.folder / FIRST_SAVE).exists() and not self.steps()
        leftovers = (file.name.startswith("model.ckpt-") for file in self._listing())
        if any(leftovers) and not was_first:
            raise TrainError(
                f"no whole checkpoint in {self.folder}",
                tip="remove the folder to start again at step 0",
            )
        return None

    def sweep(self) -> None:
        """Removes files of broken saves, which no commit record lists.

        Only the training that owns the folder may call it.
        """
        known = {f"commit-{step}.json" for step in self.steps()}
        known.update(file.name for step in self.steps() for file in self._files(step))
        for path in self._listing():
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            elif path.name not in known:
                path.unlink(missing_ok=True)

    def prune(self, keep: int, best_step: int | None) -> None:
        """Removes all but the newest `keep` checkpoints and that of `best_step`."""
        for step in self.steps()[keep:]:
            if step != best_step:
                # The record goes first: without it the data files are no checkpoint.
                (self.folder / f"commit-{step}.json").unlink()
                for file in self._files(step):
                    file.unlink()

    def _commit(self, step: int, record: Mapping[str, Any]) -> None:
        text = json.dumps(record, indent=1)
        durable.write_text(self.folder / f"commit-{step}.json", text)

    def _record(self, step: int) -> dict[str, Any]:
        return json.loads((self.folder / f"commit-{step}.json").read_text())

    def _listing(self) -> list[pathlib.Path]:
        return sorted(self.folder.iterdir()) if self.folder.is_dir() else []

    def _files(self, step: int) -> list[pathlib.Path]:
        return sorted(self.folder.glob(f"model.ckpt-{step}.*"))

    def _damage(self, step: int) -> str:
        try:
            record = self._record(step)
            expected = {
                name: (facts["bytes"], facts["sha256"])
                for name, facts in record["files"].items()
            }
        except (OSError, ValueError, KeyError, TypeError) as error:
            return f"commit record unreadable ({error})"
        for name, (size, digest) in expected.items():
            file = self.folder / pathlib.PurePath(name).name
            if not file.is_file():
                return f"{name} is missing"
            if file.stat().st_size != size or _sha256(file) != digest:
                return f"{name} differs from its record"
        return ""


def write_values(path: str, values: Mapping[str, np.ndarray]) -> None:
    """Writes values by the name of their variable as a checkpoint that a Saver restores."""
    tf.raw_ops.SaveV2(
        prefix=path,
        tensor_names=list(values),
        shape_and_slices=[""] * len(values),
        tensors=list(values.values()),
    )


def _sha256(path: pathlib.Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

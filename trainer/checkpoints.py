"""Checkpoints that exist by a commit record.

TensorFlow's Saver never syncs its files to disk, and a damaged `checkpoint` state file
makes it start again at step 0 without a word. Here a checkpoint of step n is
`model.ckpt-n.*` plus `commit-n.json`, which names every file with size and SHA-256 and is
written last. A reader takes the newest record whose files all agree with it.
"""

import dataclasses
import hashlib
import json
import logging
import pathlib
import re

import tensorflow as tf

from schema import durable
from schema.errors import TrainError

_LOGGER = logging.getLogger("slimline.train")
_COMMIT = re.compile(r"commit-(\d+)\.json")


@dataclasses.dataclass(frozen=True)
class CheckpointStore:
    """The checkpoints of one training, in a folder of their own."""

    folder: pathlib.Path

    def path(self, step: int) -> str:
        """What a Saver takes as the name of the checkpoint of `step`."""
        return str(self.folder / f"model.ckpt-{step}")

    def save(
        self, session: tf.compat.v1.Session, saver: tf.compat.v1.train.Saver, step: int
    ) -> str:
        """Writes and commits the checkpoint of `step`; returns its path."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.path(step)
        saver.save(session, path, write_meta_graph=False, write_state=False)
        files = {}
        for file in self._files(step):
            durable.sync(file)
            files[file.name] = {
                "bytes": file.stat().st_size,
                "sha256": _sha256(file),
            }
        durable.write_text(
            self.folder / f"commit-{step}.json",
            json.dumps({"step": step, "files": files}, indent=1),
        )
        return path

    def steps(self) -> list[int]:
        """Committed steps, newest first, verified or not."""
        matches = (_COMMIT.fullmatch(file.name) for file in self._listing())
        return sorted((int(match[1]) for match in matches if match), reverse=True)

    def latest(self) -> int | None:
        """Newest step whose files are whole; None in an empty folder.

        Raises:
          TrainError: there are files, but no whole checkpoint among them. Starting
            again at step 0 would hide the loss.
        """
        for step in self.steps():
            if damage := self._damage(step):
                _LOGGER.warning("checkpoint of step %d is damaged: %s", step, damage)
            else:
                return step
        if any(file.name.startswith("model.ckpt-") for file in self._listing()):
            raise TrainError(
                f"no whole checkpoint in {self.folder}",
                tip="remove the folder to start again at step 0",
            )
        return None

    def prune(self, keep: int, best_step: int | None) -> None:
        """Removes all but the newest `keep` checkpoints and that of `best_step`."""
        for step in self.steps()[keep:]:
            if step != best_step:
                # The record goes first: without it the data files are no checkpoint.
                (self.folder / f"commit-{step}.json").unlink()
                for file in self._files(step):
                    file.unlink()

    def _listing(self) -> list[pathlib.Path]:
        return sorted(self.folder.iterdir()) if self.folder.is_dir() else []

    def _files(self, step: int) -> list[pathlib.Path]:
        return sorted(self.folder.glob(f"model.ckpt-{step}.*"))

    def _damage(self, step: int) -> str:
        try:
            record = json.loads((self.folder / f"commit-{step}.json").read_text())
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


def _sha256(path: pathlib.Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

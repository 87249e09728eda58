"""Features: the outputs of a net in front of its class layer, computed once, kept on disk."""

import dataclasses
import hashlib
import json
import logging
import pathlib
import time
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow.compat.v1 as v1

from storage import durable
from trainer import graphs, unfinished
from trainer.config import TrainerConfig, as_json
from trainer.head import Examples
from trainer.input_pipeline import Split

_PROGRESS = logging.getLogger("slimline.progress")

FOLDER = "features"
BATCH_SIZE = 32
# Batches written together; a killed run computes no more than these again.
PART_BATCHES = 64
REPORT_SECONDS = 0.5


@dataclasses.dataclass(frozen=True)
class Cache:
    """Folder that keeps features from one training to the next.

    Attributes:
      root: the folder.
      causes: the weights and the code that features depend on, fit for JSON.
    """

    root: pathlib.Path
    causes: Mapping[str, Any]

    def folder(
        self, config: TrainerConfig, splits: Mapping[str, Split]
    ) -> pathlib.Path:
        """The folder for the features of `splits`; makes it if it is new."""
        settings = as_json(config)
        # Features are of the images as they are.
        del settings["model"]["test_time_views"]
        causes = {
            "preprocessing": settings["preprocessing"],
            "model": settings["model"],
            "images": {name: _digest(split.files) for name, split in splits.items()},
            **self.causes,
        }
        text = json.dumps(causes, sort_keys=True)
        folder = self.root / unfinished.key_of(text)
        folder.mkdir(parents=True, exist_ok=True)
        folder.touch()
        others = self.root.iterdir()
        unfinished.prune(
            path for path in others if path != folder and any(path.glob("*.npy"))
        )
        return folder


class Extractor:
    """A net up to its class layer, in a session, and the folder of its features.

    Args:
      checkpoint: of the net's weights; the class layer's are not read.
      folder: of a `Cache`.
    """

    def __init__(self, config: TrainerConfig, checkpoint: str, folder: pathlib.Path):
        self._config = config
        self._folder = folder
        size_px = config.preprocessing.crop_px
        with tf.Graph().as_default() as graph:
            self._images = v1.placeholder(
                tf.float32, [None, size_px, size_px, config.preprocessing.channels]
            )
            self._seed = v1.placeholder_with_default(tf.zeros([2], tf.int64), [2])
            self._plain, self._view, self._variables = graphs.build_features(
                self._images, self._seed, config
            )
            self._session = v1.Session(graph=graph)
            v1.train.Saver(self._variables).restore(self._session, checkpoint)
        self._reported_at = 0.0

    def __enter__(self) -> "Extractor":
        return self

    def __exit__(self, *exception: object) -> None:
        self._session.close()

    def values(self) -> dict[str, np.ndarray]:
        """Values of the net's variables by name, without those of the class layer."""
        return self._session.run(
            {variable.op.name: variable for variable in self._variables}
        )

    def examples(self, split: Split, name: str, view: int = 0) -> Examples:
        """Features and labels of all images of a split, in file order.

        Args:
          split: its images.
          name: of the split, for its files.
          view: 0 takes the images as evaluation sees them, n the n-th of their augmented
            views.
        """
        label = f"{name}-{view}"
        if view:
            text = json.dumps(as_json(self._config.augmentation), sort_keys=True)
            label += f"-{unfinished.key_of(f'{text} {self._config.train.seed}')}"
        done = self._folder / f"{label}.npy"
        if not done.is_file():
            parts = list(self._parts(split, label, view))
            with durable.replacing(done) as file:
                np.save(file, np.concatenate([np.load(part) for part in parts]))
            for part in parts:
                part.unlink()
        return Examples(np.load(done), split.labels)

    def _parts(self, split: Split, label: str, view: int) -> Iterator[pathlib.Path]:
        """Files with the features of `PART_BATCHES` batches each."""
        batches = split.batches(BATCH_SIZE)
        count = -(-split.num_examples // BATCH_SIZE)
        began_at, computed = time.monotonic(), 0
        for first in range(0, count, PART_BATCHES):
            path = self._folder / f"{label}.{first:08d}.npy"
            computes = not path.is_file()
            rows = []
            for place in range(first, min(first + PART_BATCHES, count)):
                images, _ = next(batches)
                if computes:
                    rows.append(self._compute(images, view, place))
                    computed += len(images)
                    done = min((place + 1) * BATCH_SIZE, split.num_examples)
                    self._report(done, split.num_examples, computed, began_at)
            if computes:
                with durable.replacing(path) as file:
                    np.save(file, np.concatenate(rows))
            yield path

    def _compute(self, images: np.ndarray, view: int, place: int) -> np.ndarray:
        if not view:
            return self._session.run(self._plain, {self._images: images})
        # Another seed for each batch and view; negative, unlike those of training steps.
        seed = [self._config.train.seed, -(view * 2**32 + place)]
        return self._session.run(self._view, {self._images: images, self._seed: seed})

    def _report(self, done: int, total: int, computed: int, began_at: float) -> None:
        now = time.monotonic()
        if now - self._reported_at < REPORT_SECONDS and done != total:
            return
        self._reported_at = now
        rate = computed / max(now - began_at, 1e-9)
        fields = {
            "step": done,
            "total_steps": total,
            "images_per_second": rate,
            "seconds_left": (total - done) / rate,
        }
        _PROGRESS.info("features", extra={"fields": fields})


def _digest(files: tuple[str, ...]) -> str:
    """SHA-256 of the content of all `files` in turn."""
    digest = hashlib.sha256()
    for name in files:
        with pathlib.Path(name).open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()

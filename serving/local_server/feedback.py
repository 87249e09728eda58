"""Keeps a sample of the requests as Examples, to detect drift and to label them.

Nothing is kept unless a folder is named. Sampled requests wait in memory for a thread that
writes them; if it is slow, requests are dropped and counted, and answers never wait.
"""

import datetime
import hashlib
import logging
import pathlib
import random
import threading
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from common.errors import ConfigError, os_errors_as
from pushed_models import signatures
from schema import features, images
from serving.local_server.answering import Answer
from storage import durable

# Features of the answer; the others are those of ingest.
MODEL = "serving/model"
VERSION = "serving/version"
SCORE = "serving/score"
TIME = "serving/time"

FILE_PATTERN = "requests-*.tfrecord.gz"
# Bounds of what waits; a file is written at half of them, or after some time.
_MOST_EXAMPLES = 2_000
_MOST_BYTES = 64 << 20
_FILE_SECONDS = 300
_NO_OUTPUT = np.empty(0)
_LOGGER = logging.getLogger("slimline.serving")


class RequestSampler:
    """Keeps the images of a random share of the requests, up to a number of images.

    Attributes:
      stored_count: images written so far.
      dropped_count: sampled images that could not be kept.
    """

    def __init__(
        self,
        folder: pathlib.Path,
        share: float,
        max_examples: int,
    ):
        """Starts the thread that writes.

        Args:
          folder: created if missing; files of earlier starts stay.
          share: of the requests, above 0 and at most 1.
          max_examples: images to keep, at most.

        Raises:
          ConfigError: the folder cannot be written.
        """
        with os_errors_as(ConfigError, f"cannot keep requests in {folder}"):
            folder.mkdir(parents=True, exist_ok=True)
            durable.sync(folder)
        self._folder = folder
        self._share = share
        self._left = max_examples
        self._random = random.Random(0)
        self._lock = threading.Lock()
        self._waiting: list[bytes] = []
        self._waiting_bytes = 0
        self._is_due = threading.Event()
        self._is_over = False
        self.stored_count = 0
        self.dropped_count = 0
        self._thread = threading.Thread(
            target=self._write, name="feedback", daemon=True
        )
        self._thread.start()

    def offer(self, encoded: Sequence[bytes], answer: Answer) -> None:
        """An `answering.Sample`; ignores answers other than a classification of images."""
        classes = answer.outputs.get(signatures.CLASSES, _NO_OUTPUT)
        scores = answer.outputs.get(signatures.SCORES, _NO_OUTPUT)
        if classes.dtype != object or classes.shape != scores.shape:
            return
        if classes.ndim != 2 or len(classes) != len(encoded):
            return
        if self._random.random() >= self._share:
            return
        for image, labels, best in zip(encoded, classes, scores, strict=True):
            if self._left <= 0:
                return
            count, size = len(self._waiting), self._waiting_bytes + len(image)
            if count >= _MOST_EXAMPLES or size > _MOST_BYTES:
                self.dropped_count += 1
                continue
            self._left -= 1
            with self._lock:
                self._waiting.append(_example(image, labels[0], best[0], answer))
                self._waiting_bytes += len(image)
            if count >= _MOST_EXAMPLES // 2 or size > _MOST_BYTES // 2:
                self._is_due.set()

    def close(self) -> None:
        """Writes the waiting images and ends the thread."""
        self._is_over = True
        self._is_due.set()
        self._thread.join()

    def _write(self) -> None:
        while not self._is_over or self._waiting:
            self._is_due.wait(_FILE_SECONDS)
            self._is_due.clear()
            with self._lock:
                waiting, self._waiting, self._waiting_bytes = self._waiting, [], 0
            try:
                if waiting:
                    self._write_file(waiting)
            except (OSError, tf.errors.OpError) as error:
                # A full disk must not end the server.
                self.dropped_count += len(waiting)
                _LOGGER.warning("requests are not kept: %s", type(error).__name__)

    def _write_file(self, examples: Sequence[bytes]) -> None:
        """Writes a file, completely or not at all."""
        now = datetime.datetime.now(datetime.UTC)
        path = self._folder / f"requests-{now:%Y%m%dT%H%M%S-%f}.tfrecord.gz"
        with (
            durable.replacing(path) as file,
            tf.io.TFRecordWriter(file.name, "GZIP") as writer,
        ):
            for example in examples:
                writer.write(example)
        self.stored_count += len(examples)


def _example(encoded: bytes, label: bytes, score: float, answer: Answer) -> bytes:
    header = images.read_header(encoded)
    now = datetime.datetime.now(datetime.UTC)
    texts = {
        features.ENCODED: encoded,
        features.FORMAT: header.format.encode(),
        features.KEY: hashlib.sha256(encoded).hexdigest().encode(),
        features.TEXT: label,
        MODEL: answer.name.encode(),
        TIME: now.isoformat(timespec="seconds").encode(),
    }
    numbers = {
        features.HEIGHT: header.height,
        features.WIDTH: header.width,
        VERSION: answer.version,
    }
    example = tf.train.Example()
    feature = example.features.feature
    for name, text in texts.items():
        feature[name].bytes_list.value.append(text)
    for name, number in numbers.items():
        feature[name].int64_list.value.append(number)
    feature[SCORE].float_list.value.append(score)
    return bytes(example.SerializeToString())

"""A share of the requests, kept as Examples: to see drift, and to have them labelled.

Nothing is kept unless a folder is named. Requests that are drawn wait in memory for a thread
that writes them; where it is slow, requests are dropped and counted, and answers never wait.
"""

import datetime
import hashlib
import logging
import os
import pathlib
import random
import threading
from collections.abc import Sequence

import tensorflow as tf

from common.errors import ConfigError
from pushed_models import signatures
from schema import features, images
from serving.local_server.answering import Answer
from storage import durable

# What the answering model and its version were, and how sure it was.
MODEL = "serving/model"
VERSION = "serving/version"
SCORE = "serving/score"
TIME = "serving/time"

FILE_PATTERN = "requests-*.tfrecord.gz"
_TEMPORARY = ".unfinished-"
# What waits at most; a file is written when half of it does, and after some time.
_MOST_EXAMPLES = 2_000
_MOST_BYTES = 64 << 20
_FILE_SECONDS = 300
_LOGGER = logging.getLogger("slimline.serving")


class RequestSampler:
    """Keeps images of a seeded share of the requests, up to a number of them."""

    def __init__(
        self,
        folder: pathlib.Path,
        share: float,
        max_examples: int,
        seed: int = 0,
        file_seconds: float = _FILE_SECONDS,
    ):
        """Starts the thread that writes.

        Args:
          folder: made where missing; files of earlier starts stay.
          share: of the requests, above 0 and at most 1.
          max_examples: kept between start and stop.
          seed: of the draw.
          file_seconds: after which a file is written of what there is.

        Raises:
          ConfigError: nothing can be written into `folder`.
        """
        try:
            folder.mkdir(parents=True, exist_ok=True)
            durable.sync(folder)
        except OSError as error:
            raise ConfigError(
                f"cannot keep requests in {folder}: {error.strerror}"
            ) from error
        self._folder = folder
        self._share = share
        self._left = max_examples
        self._random = random.Random(seed)
        self._file_seconds = file_seconds
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
        """See `answering.Sampler`; only classifiers of images have something to keep."""
        classes = answer.outputs.get(signatures.CLASSES)
        scores = answer.outputs.get(signatures.SCORES)
        if classes is None or scores is None or len(classes) != len(encoded):
            return
        if self._random.random() >= self._share:
            return
        for image, labels, best in zip(encoded, classes, scores, strict=True):
            if self._left <= 0:
                return
            waiting = len(self._waiting), self._waiting_bytes + len(image)
            if waiting[0] >= _MOST_EXAMPLES or waiting[1] > _MOST_BYTES:
                self.dropped_count += 1
                continue
            self._left -= 1
            with self._lock:
                self._waiting.append(_example(image, labels[0], best[0], answer))
                self._waiting_bytes += len(image)
            if waiting[0] >= _MOST_EXAMPLES // 2 or waiting[1] > _MOST_BYTES // 2:
                self._is_due.set()

    def close(self) -> None:
        """Writes what waits, and ends the thread."""
        self._is_over = True
        self._is_due.set()
        self._thread.join()

    def _write(self) -> None:
        while not self._is_over or self._waiting:
            self._is_due.wait(self._file_seconds)
            self._is_due.clear()
            with self._lock:
                waiting, self._waiting, self._waiting_bytes = self._waiting, [], 0
            try:
                if waiting:
                    self._write_file(waiting)
            except (OSError, tf.errors.OpError) as error:
                # Answers go on: what cannot be kept is dropped.
                self.dropped_count += len(waiting)
                _LOGGER.warning("requests are not kept: %s", type(error).__name__)

    def _write_file(self, examples: Sequence[bytes]) -> None:
        """One file of them, whole or absent."""
        now = datetime.datetime.now(datetime.UTC)
        name = f"requests-{now:%Y%m%dT%H%M%S}-{now.microsecond:06}.tfrecord.gz"
        temporary = self._folder / f"{_TEMPORARY}{os.getpid()}-{name}"
        try:
            with tf.io.TFRecordWriter(str(temporary), "GZIP") as writer:
                for example in examples:
                    writer.write(example)
            durable.sync(temporary)
            temporary.rename(self._folder / name)
            durable.sync(self._folder)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
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

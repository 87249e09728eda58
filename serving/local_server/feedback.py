"""A share of the requests, kept as Examples: to see drift, and to have them labelled.

Nothing is kept unless a folder is named. A request that is drawn goes into a queue, a thread
writes; where the thread is slow, requests are dropped and counted, and answers never wait.
"""

import datetime
import hashlib
import logging
import os
import pathlib
import queue
import random
import threading
import time
from collections.abc import Sequence

import tensorflow as tf

from schema import durable, features, images, signatures
from schema.errors import ConfigError
from serving.local_server.answering import Answer

# What the answering model and its version were, and how sure it was.
MODEL = "serving/model"
VERSION = "serving/version"
SCORE = "serving/score"
TIME = "serving/time"

FILE_PATTERN = "requests-*.tfrecord.gz"
_TEMPORARY = ".unfinished-"
_SHARD_EXAMPLES = 1_000
# A shard is closed after that time even where few requests come.
_SHARD_SECONDS = 300
_QUEUE_EXAMPLES = 256
_QUEUE_BYTES = 64 << 20
_POLL_SECONDS = 0.5
_LOGGER = logging.getLogger("slimline.serving")


class RequestSampler:
    """Keeps images of a seeded share of the requests, up to a number of them."""

    def __init__(
        self,
        folder: pathlib.Path,
        share: float,
        max_examples: int,
        seed: int = 0,
        shard_seconds: float = _SHARD_SECONDS,
    ):
        """Starts the thread that writes.

        Args:
          folder: made where missing; shards of earlier starts stay.
          share: of the requests, above 0 and at most 1.
          max_examples: kept between start and stop.
          seed: of the draw.
          shard_seconds: after which a shard with anything in it is closed.

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
        self._shard_seconds = shard_seconds
        self._queue: queue.Queue[bytes] = queue.Queue(_QUEUE_EXAMPLES)
        self._is_over = threading.Event()
        # Each is written by one thread only; the difference is what waits.
        self._offered_bytes = self._taken_bytes = 0
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
            waiting = self._offered_bytes - self._taken_bytes
            if waiting + len(image) > _QUEUE_BYTES or self._queue.full():
                self.dropped_count += 1
                continue
            example = _example(image, labels[0], best[0], answer)
            self._left -= 1
            self._offered_bytes += len(example)
            self._queue.put_nowait(example)

    def close(self) -> None:
        """Writes what waits, and ends the thread."""
        self._is_over.set()
        self._thread.join()

    def _write(self) -> None:
        while not self._is_over.is_set() or not self._queue.empty():
            first = self._next(time.monotonic() + _POLL_SECONDS)
            if first is None:
                continue
            try:
                self._write_shard(first)
            except (OSError, tf.errors.OpError) as error:
                # Answers go on: what cannot be kept is dropped.
                self.dropped_count += 1
                _LOGGER.warning("requests are not kept: %s", type(error).__name__)

    def _write_shard(self, first: bytes) -> None:
        """One file with `first` and what comes until it is full or old; whole or absent."""
        now = datetime.datetime.now(datetime.UTC)
        name = f"requests-{now:%Y%m%dT%H%M%S}-{now.microsecond:06}.tfrecord.gz"
        temporary = self._folder / f"{_TEMPORARY}{os.getpid()}-{name}"
        end = time.monotonic() + self._shard_seconds
        count = 0
        try:
            with tf.io.TFRecordWriter(str(temporary), "GZIP") as writer:
                example: bytes | None = first
                while example is not None:
                    writer.write(example)
                    count += 1
                    example = self._next(end) if count < _SHARD_EXAMPLES else None
            durable.sync(temporary)
            temporary.rename(self._folder / name)
            durable.sync(self._folder)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        self.stored_count += count

    def _next(self, end: float) -> bytes | None:
        """What comes next, or None where nothing came until `end`, or all is over."""
        while time.monotonic() < end:
            try:
                example = self._queue.get(timeout=_POLL_SECONDS)
            except queue.Empty:
                if self._is_over.is_set():
                    return None
            else:
                self._taken_bytes += len(example)
                return example
        return None


def _example(encoded: bytes, label: bytes, score: float, answer: Answer) -> bytes:
    header = images.read_header(encoded)
    now = datetime.datetime.now(datetime.UTC)
    values: dict[str, bytes | int | float] = {
        features.ENCODED: encoded,
        features.FORMAT: header.format.encode(),
        features.HEIGHT: header.height,
        features.WIDTH: header.width,
        features.KEY: hashlib.sha256(encoded).hexdigest().encode(),
        features.TEXT: label,
        MODEL: answer.name.encode(),
        VERSION: answer.version,
        SCORE: float(score),
        TIME: now.isoformat(timespec="seconds").encode(),
    }
    example = tf.train.Example()
    for name, value in values.items():
        feature = example.features.feature[name]
        if isinstance(value, bytes):
            feature.bytes_list.value.append(value)
        elif isinstance(value, int):
            feature.int64_list.value.append(value)
        else:
            feature.float_list.value.append(value)
    return bytes(example.SerializeToString())

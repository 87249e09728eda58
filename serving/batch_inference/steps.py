"""The Beam job of a batch inference.

A part of the files is Beam's element, not an image: its rows are on disk when it is done,
where a grouping of single images would hold all of them back until the last one. And its
batches are always the same, so that the same files give the same bytes.
"""

import dataclasses
import os
import pathlib
import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from concurrent import futures

import apache_beam as beam
import tensorflow as tf
from apache_beam.utils import shared

from common.errors import SlimlineError
from schema import file_tree, images
from serving import local_model
from serving.batch_inference import parts, rows

# Files are read and checked while the model works. One batch lies ready, so memory holds
# the files of two.
READERS = 4
NOTE_SECONDS = 1.0


@dataclasses.dataclass(frozen=True)
class Job:
    """What every worker needs to know.

    Attributes:
      folder: of the parts, absolute.
      working_folder: where relative paths of files start.
      model_folder: of the version, absolute.
      model: what rows call it.
      format: of the rows.
      top: how many classes a row has, at most all.
    """

    folder: pathlib.Path
    working_folder: str
    model_folder: pathlib.Path
    model: str
    format: str
    top: int


def build(
    pipeline: beam.Pipeline,
    job: Job,
    todo: Sequence[parts.Part],
    model: shared.Shared,
) -> None:
    """Adds the whole job to `pipeline`."""
    _ = (
        pipeline
        | "Parts" >> beam.Create([tuple(part) for part in todo])
        | "SpreadParts" >> beam.Reshuffle()
        | "ClassifyPart" >> beam.ParDo(ClassifyPart(job, model))
    )


class ClassifyPart(beam.DoFn):
    """A part -> its rows on disk."""

    def __init__(self, job: Job, model: shared.Shared):
        """Takes the job, and the model's place in each process."""
        self._job = job
        self._shared_model = model

    def setup(self) -> None:
        """Loads the model, once a process."""
        self._model = self._shared_model.acquire(
            lambda: local_model.LocalModel.load(self._job.model_folder)
        )
        self._readers = futures.ThreadPoolExecutor(READERS, "read")
        self._noted = time.monotonic()

    def teardown(self) -> None:
        """Ends the readers."""
        self._readers.shutdown(cancel_futures=True)

    def process(self, element: tuple[int, int, int]) -> None:
        """Classifies one part."""
        part = parts.Part(*element)
        try:
            self._classify_part(part)
        except SlimlineError as error:
            # From another process nothing but text would come back.
            parts.refuse(self._job.folder, error)
            raise

    def _classify_part(self, part: parts.Part) -> None:
        found: list[rows.Row] = []
        unreadable: list[tuple[str, str]] = []
        batch: list[tuple[str, bytes]] = []
        for path, verdict in self._read(parts.read_files(self._job.folder, part)):
            if verdict.reason:
                unreadable.append((path, verdict.reason))
                continue
            batch.append((path, verdict.encoded))
            if len(batch) == local_model.BATCH_SIZE:
                self._classify(batch, found, unreadable)
                batch = []
                self._note(part, len(found) + len(unreadable))
        if batch:
            self._classify(batch, found, unreadable)
        with parts.writing(self._job.folder):
            parts.write(
                self._job.folder,
                part,
                rows.encode(self._job.format, found),
                dict(Counter(row.top[0][0] for row in found)),
                sorted(unreadable),
            )

    def _note(self, part: parts.Part, files: int) -> None:
        """Notes, if it is time, how far a part is."""
        now = time.monotonic()
        if now - self._noted >= NOTE_SECONDS:
            self._noted = now
            with parts.writing(self._job.folder):
                parts.note(self._job.folder, part, files)

    def _read(self, paths: Sequence[str]) -> Iterator[tuple[str, images.Verdict]]:
        """Each file with its verdict, in order; the next ones are read meanwhile."""
        waiting: deque[tuple[str, futures.Future[images.Verdict]]] = deque()
        try:
            for path in paths:
                where = os.path.join(self._job.working_folder, path)  # noqa: PTH118
                waiting.append((path, self._readers.submit(check_file, where)))
                if len(waiting) > local_model.BATCH_SIZE:
                    first, verdict = waiting.popleft()
                    yield first, verdict.result()
            while waiting:
                first, verdict = waiting.popleft()
                yield first, verdict.result()
        finally:
            for _, verdict in waiting:
                verdict.cancel()

    def _classify(
        self,
        batch: Sequence[tuple[str, bytes]],
        found: list[rows.Row],
        unreadable: list[tuple[str, str]],
    ) -> None:
        """Adds a batch to the rows; what the graph refuses, to the unreadable."""
        try:
            predictions = self._model.predict_encoded(
                [encoded for _, encoded in batch], self._job.top
            )
        except tf.errors.InvalidArgumentError as error:
            if len(batch) == 1:
                sentence = error.message.splitlines()[0][:200]
                unreadable.append((batch[0][0], f"the model refuses it: {sentence}"))
                return
            for image in batch:
                self._classify([image], found, unreadable)
            return
        found.extend(
            rows.Row(path, prediction.top, self._job.model)
            for (path, _), prediction in zip(batch, predictions, strict=True)
        )


def check_file(path: str) -> images.Verdict:
    """Verdict on an image file."""
    try:
        data = file_tree.read_file(path, images.MAX_FILE_BYTES + 1)
    except OSError as error:
        return images.Verdict(error.strerror or str(error))
    return images.check_image(data)

"""The Beam job of a batch inference.

Beam's elements are parts, not images: the rows of a part are on disk as soon as it is
finished, while a grouping of single images would hold all of them back until the last one.
Parts also have the same batches in each run, so that the same files give the same bytes.
"""

import dataclasses
import os
import pathlib
import time
from collections import Counter
from collections.abc import Sequence
from concurrent import futures

import apache_beam as beam
import tensorflow as tf
from apache_beam.utils import shared

from common.errors import SlimlineError
from schema import images
from serving import ahead, encoding, local_model
from serving.batch_inference import parts, rows

# Threads that read and check the next batch while the model works on one.
READERS = 4
NOTE_SECONDS = 1.0


@dataclasses.dataclass(frozen=True)
class Job:
    """Settings of a job, for its workers."""

    folder: pathlib.Path  # of the parts, absolute
    working_folder: str  # base of relative paths of files
    model_folder: pathlib.Path  # of the version, absolute
    model: str  # its name in rows
    format: str  # of the rows
    top: int  # classes in a row


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
    """Writes the rows of a part to disk."""

    def __init__(self, job: Job, model: shared.Shared):
        """Takes the job, and a handle of the model that each process loads once."""
        self._job = job
        self._shared_model = model

    def setup(self) -> None:
        """Loads the model, once in each process."""
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
            # Beam returns only text from other processes.
            parts.refuse(self._job.folder, error)
            raise

    def _classify_part(self, part: parts.Part) -> None:
        classified: list[rows.Row] = []
        unreadable: list[tuple[str, str]] = []
        batch: list[tuple[str, bytes]] = []
        paths = parts.read_files(self._job.folder, part)
        verdicts = ahead.results(
            self._readers, self._check, paths, local_model.BATCH_SIZE
        )
        for path, verdict in zip(paths, verdicts, strict=True):
            if verdict.reason:
                unreadable.append((path, verdict.reason))
                continue
            batch.append((path, verdict.encoded))
            if len(batch) == local_model.BATCH_SIZE:
                self._classify(batch, classified, unreadable)
                batch = []
                self._note(part, len(classified) + len(unreadable))
        if batch:
            self._classify(batch, classified, unreadable)
        with parts.writing(self._job.folder):
            parts.write(
                self._job.folder,
                part,
                rows.encode(self._job.format, classified),
                dict(Counter(row.top[0][0] for row in classified)),
                sorted(unreadable),
            )

    def _check(self, path: str) -> images.Verdict:
        return encoding.check_file(os.path.join(self._job.working_folder, path))  # noqa: PTH118

    def _note(self, part: parts.Part, files: int) -> None:
        """Records progress within a part, about once a second."""
        if time.monotonic() - self._noted >= NOTE_SECONDS:
            self._noted = time.monotonic()
            with parts.writing(self._job.folder):
                parts.note(self._job.folder, part, files)

    def _classify(
        self,
        batch: Sequence[tuple[str, bytes]],
        classified: list[rows.Row],
        unreadable: list[tuple[str, str]],
    ) -> None:
        """Adds a batch to the classified rows; images that the graph refuses are unreadable."""
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
                self._classify([image], classified, unreadable)
            return
        classified.extend(
            rows.Row(path, prediction.top, self._job.model)
            for (path, _), prediction in zip(batch, predictions, strict=True)
        )

"""Beam job of ImageExampleGen: a source to TFRecords of Examples in three splits.

Examples wait in files (`spool`) while 32 bytes of each (`index`) are gathered in one place,
which decides about split, file and order. Then each file of a split is written by itself, an
Example at a time. It is sorted by digest, so classes come mixed and a second run writes the
same bytes.
"""

import dataclasses
from collections.abc import Iterator
from typing import Any

import apache_beam as beam
import numpy as np

from components.image_example_gen import (
    acceptance,
    reading,
    records,
    reports,
    shards,
    splits,
    spool,
    steps,
)
from components.image_example_gen import index as indices
from components.image_example_gen.records import ImageFile, PixelBatch

# Limits of the list that a worker gets at once.
BATCH_IMAGES = 200
BATCH_BYTES = 32 << 20


def build(pipeline: beam.Pipeline, job: steps.Job) -> None:
    """Adds all steps of the job to `pipeline`."""
    units = list(job.plan.units)
    ignored = indices.Part({})
    for name in job.plan.ignored:
        ignored.leave_out(records.Ignored(name))
    # Every step holds a copy of the job, so not the names of all files.
    job = dataclasses.replace(job, plan=job.plan.reader())
    found = (
        pipeline
        | "Parts" >> beam.Create(units)
        | "SpreadParts" >> beam.Reshuffle()
        | "ReadParts" >> beam.ParDo(_ReadParts(job))
    )
    if not job.plan.is_random_access:
        # One worker unpacks an archive; what comes out of it is work for all.
        found = (
            found
            | "StoreImages" >> beam.ParDo(_StoreImages(job))
            | "SpreadImages" >> beam.Reshuffle()
            | "FetchImages" >> beam.ParDo(_FetchImages(job))
        )
    _ = (
        found
        | "StoreExamples" >> beam.ParDo(_StoreExamples(job))
        | "GatherIndex" >> beam.combiners.ToList()
        | "AssignSplits" >> beam.ParDo(_AssignSplits(job, ignored.to_bytes()))
        | "SpreadShards" >> beam.Reshuffle()
        | "WriteShards" >> beam.ParDo(shards.WriteShard(job))
    )


class _ReadParts(steps.RefusingDoFn):
    """Reads a part; gives what is found in it in lists of some images."""

    def setup(self) -> None:
        self._progress = reading.Progress()

    def step(self, unit: Any) -> Iterator[Any]:
        found: list[records.Found] = []
        images = length = 0
        for item in self._job.plan.read(unit):
            found.append(item)
            if isinstance(item, PixelBatch):
                images += len(item.indices)
                length += item.pixels.nbytes
            elif isinstance(item, ImageFile):
                images += 1
                length += len(item.data)
            if images >= BATCH_IMAGES or length >= BATCH_BYTES:
                self._progress.add(images)
                yield found
                found, images, length = [], 0, 0
        self._progress.add(images)
        yield found


class _StoreImages(steps.RefusingDoFn):
    """Moves the bytes of what was found into the spool, and gives their places."""

    def step(self, found: Any) -> Iterator[Any]:
        images = spool.Writer(self._job.spool_uri)
        light: list[tuple[records.Found, tuple | None]] = []
        for item in found:
            content = _content(item)
            if content is None:
                light.append((item, None))
            else:
                light.append((_with_content(item, b""), images.add(content)))
        images.close()
        yield light


class _FetchImages(steps.RefusingDoFn):
    """Restores the bytes of what was found from the spool."""

    def step(self, light: Any) -> Iterator[Any]:
        with spool.Reader(self._job.spool_uri) as images:
            yield [
                _with_content(item, images.read(*place)) if place else item
                for item, place in light
            ]


def _content(item: records.Found) -> bytes | None:
    """Bytes of the images in what was found; None where it has none."""
    if isinstance(item, PixelBatch):
        return item.pixels.tobytes()
    return item.data if isinstance(item, ImageFile) else None


def _with_content(item: Any, content: bytes) -> records.Found:
    """What was found, with other bytes of its images; b'' leaves them out."""
    if isinstance(item, PixelBatch):
        pixels = np.frombuffer(content, np.uint8)
        return item._replace(pixels=pixels.reshape(-1, *item.pixels.shape[1:]))
    return item._replace(data=content)


class _StoreExamples(steps.RefusingDoFn):
    """Makes Examples of what was found, stores them in the spool, and gives their index."""

    def __init__(self, job: steps.Job):
        super().__init__(job)
        self._read = beam.metrics.Metrics.counter("images", "read")
        self._undecodable = beam.metrics.Metrics.counter("images", "undecodable")

    def setup(self) -> None:
        self._classes = records.Classes(self._job.labels)
        self._kinds = indices.known_kinds(self._job.labels)
        self._stored = spool.Writer(self._job.spool_uri)

    def step(self, found: Any) -> Iterator[tuple[bytes, str]]:
        part = indices.Part(self._kinds)
        self._stored.close_if_long()
        for record in reading.records_of(found, self._job.plan, self._classes):
            if not isinstance(record, reading.Record):
                if isinstance(record, records.Unreadable):
                    self._undecodable.inc()
                part.leave_out(record)
                continue
            store = shards.serialize if record.encoded else shards.defer
            part.add(record, self._stored.add(store(record)))
        self._read.inc(len(part))
        yield part.to_bytes()

    def finish_bundle(self) -> None:
        self._stored.close()


class _AssignSplits(steps.RefusingDoFn):
    """Index of the whole source -> what each file holds; writes summary and quarantine."""

    def __init__(self, job: steps.Job, ignored: tuple[bytes, str]):
        super().__init__(job)
        self._ignored = ignored

    def step(
        self, parts: list[tuple[bytes, str]]
    ) -> Iterator[tuple[str, int, int, list[str], bytes]]:
        job = self._job
        if steps.refusals(job):
            return
        index = indices.Index([*parts, self._ignored], job.labels)
        acceptance.check_readable(index, job.max_unreadable_share)
        rule = splits.assign(index, job.cut)
        acceptance.check_splits(rule)
        reports.write_quarantine(job.output_uri, index.unreadable)
        summary = reports.summarise(job.plan, index, rule, job.labels)
        reports.write_summary(job.output_uri, summary)
        yield from index.shards(
            rule, lambda split, size: job.shards or shards.number_of(split, size)
        )

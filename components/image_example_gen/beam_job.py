"""Beam job of ImageExampleGen: a source to TFRecords of Examples in three splits.

Two passes over light and heavy data meet: rows without pixels (digest, split, class) are
gathered in one place and become the rule that says who goes where; the images wait in files
(`spool`) and follow it into their shards. A shard is sorted by digest, so classes come mixed and a second run
writes the same bytes.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
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
    windows,
)
from components.image_example_gen.records import ImageFile, PixelBatch
from schema.errors import DataError, SlimlineError

# Of what goes to a worker at once.
BATCH_IMAGES = 200
BATCH_BYTES = 32 << 20


def build(pipeline: beam.Pipeline, job: steps.Job) -> None:
    """Adds the whole job to `pipeline`."""
    found = (
        pipeline
        | "Parts" >> beam.Create(list(job.plan.units))
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
    read = found | "ToRecords" >> beam.ParDo(_ToRecords(job)).with_outputs(
        "index", main="images"
    )
    assignment = (
        read.index
        | "GatherIndex" >> beam.CombineGlobally(_GatherIndex())
        | "AssignSplits" >> beam.ParDo(_AssignSplits(job))
    )
    empty: list[tuple[tuple[str, int], list[tuple]]] = [
        ((split, shard), [])
        for split, count in job.shards.items()
        for shard in range(count)
    ]
    routed = read.images | "ToShards" >> beam.ParDo(
        _ToShards(job), beam.pvalue.AsSingleton(assignment)
    )
    _ = (
        (routed, pipeline | "EveryShard" >> beam.Create(empty))
        | "JoinShards" >> beam.Flatten()
        | "GroupShards" >> beam.GroupByKey()
        | "WriteShards" >> beam.ParDo(shards.WriteShard(job))
    )


class _ReadParts(steps.RefusingDoFn):
    """Part -> what is found in it, in lists of some images."""

    def setup(self) -> None:
        self._progress = reading.Progress()

    # Any: of named tuples Beam would make rows of a schema.
    def process(self, unit: Any) -> Iterator[Any]:
        found: list[windows.Found] = []
        images = length = 0
        try:
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
        except SlimlineError as error:
            self._refuse(error)
            return
        self._progress.add(images)
        yield found


class _StoreImages(steps.RefusingDoFn):
    """What was found -> the same without bytes, and where they are in the spool."""

    def process(self, found: Any) -> Iterator[Any]:
        images = spool.Writer(self._job.spool_uri)
        light: list[tuple[windows.Found, tuple | None]] = []
        for item in found:
            if isinstance(item, PixelBatch):
                place = images.add(item.pixels.tobytes())
                shape = (0, *item.pixels.shape[1:])
                light.append((item._replace(pixels=np.empty(shape, np.uint8)), place))
            elif isinstance(item, ImageFile):
                light.append((item._replace(data=b""), images.add(item.data)))
            else:
                light.append((item, None))
        images.close()
        yield light


class _FetchImages(steps.RefusingDoFn):
    """What was found, whole again."""

    def process(self, light: Any) -> Iterator[Any]:
        places = [place for _, place in light if place]
        images = spool.read(self._job.spool_uri, places)
        found: list[windows.Found] = []
        for item, place in light:
            if isinstance(item, PixelBatch):
                pixels = np.frombuffer(images[place], np.uint8)
                shape = (len(item.indices), *item.pixels.shape[1:])
                found.append(item._replace(pixels=pixels.reshape(shape)))
            elif isinstance(item, ImageFile):
                found.append(item._replace(data=images[place]))
            else:
                found.append(item)
        yield found


class _ToRecords(steps.RefusingDoFn):
    """What was found -> a batch of records; on the side, their index."""

    def __init__(self, job: steps.Job):
        super().__init__(job)
        self._read = beam.metrics.Metrics.counter("images", "read")
        self._undecodable = beam.metrics.Metrics.counter("images", "undecodable")

    def setup(self) -> None:
        self._classes = records.Classes(self._job.labels)

    def process(self, found: Any) -> Iterator[Any]:
        index: tuple[list, list, list] = ([], [], [])
        batch: list[tuple] = []
        images = spool.Writer(self._job.spool_uri)
        try:
            for record in reading.records_of(found, self._job.plan, self._classes):
                if isinstance(record, records.Unreadable):
                    self._undecodable.inc()
                    index[1].append(tuple(record))
                    continue
                if isinstance(record, records.Ignored):
                    index[2].append(tuple(record))
                    continue
                # Plain tuples: Beam's coder passes over them without pickling.
                row = tuple(record.row)
                index[0].append(row)
                place = tuple(images.add(record.encoded)) if record.encoded else None
                batch.append((row, record.label, record.format, record.name, place))
        except SlimlineError as error:
            self._refuse(error)
            return
        images.close()
        self._read.inc(len(batch))
        yield batch
        yield beam.pvalue.TaggedOutput("index", index)


class _GatherIndex(beam.CombineFn):
    """Joins the indices of all parts of a source, as plain tuples."""

    def create_accumulator(self) -> tuple[list, list, list]:
        return [], [], []

    def add_input(
        self, accumulator: tuple[list, list, list], part: tuple[list, list, list]
    ) -> tuple[list, list, list]:
        for gathered, more in zip(accumulator, part, strict=True):
            gathered.extend(more)
        return accumulator

    def merge_accumulators(
        self, accumulators: Iterable[tuple[list, list, list]]
    ) -> tuple[list, list, list]:
        merged = self.create_accumulator()
        for accumulator in accumulators:
            self.add_input(merged, accumulator)
        return merged

    def extract_output(
        self, accumulator: tuple[list, list, list]
    ) -> tuple[list, list, list]:
        return accumulator


class _AssignSplits(steps.RefusingDoFn):
    """Index of the whole source -> the rule; writes summary and quarantine."""

    def process(self, parts: tuple[list, list, list]) -> Iterator[tuple | None]:
        job = self._job
        index = splits.Index.of(parts)
        if steps.has_refusal(job):  # of a part
            yield None
            return
        try:
            acceptance.check_readable(index, job.max_unreadable_share)
            rule = splits.assign(
                index.rows, job.eval_fraction, job.test_fraction, job.split_seed
            )
            acceptance.check_splits(rule)
        except DataError as error:
            self._refuse(error)
            yield None
            return
        reports.write_quarantine(job.output_uri, index.unreadable)
        summary = reports.summarise(job.plan, index, rule, job.labels)
        reports.write_summary(job.output_uri, summary)
        yield tuple(rule)


class _ToShards(steps.RefusingDoFn):
    """Batches of records -> ((split, shard), records)."""

    def process(
        self, batch: list[tuple], assignment: tuple | None
    ) -> Iterable[tuple[tuple[str, int], list[tuple]]]:
        if assignment is None:  # the data are refused already; nothing is written
            return []
        rule = splits.Assignment(*assignment)
        routed = defaultdict(list)
        for record in batch:
            row = splits.Row(*record[0])
            split = rule.split_of(row.digest, row.split, row.group)
            if split:
                # The first bytes decide the split; later ones spread over shards evenly.
                number = int.from_bytes(row.digest[8:16], "big")
                routed[(split, number % self._job.shards[split])].append(record)
        return list(routed.items())

"""Beam job of ImageExampleGen: a source to TFRecords of Examples in three splits.

Two passes over light and heavy data meet: rows without pixels (digest, split, class) are
gathered in one place and become the rule that says who goes where; the images follow it
into their shards. A shard is sorted by digest, so classes come mixed and a second run
writes the same bytes.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

import apache_beam as beam

from components.image_example_gen import (
    acceptance,
    reading,
    records,
    reports,
    shards,
    splits,
    steps,
    uris,
)
from schema.errors import DataError, SlimlineError

BATCH_RECORDS = 200


def build(pipeline: beam.Pipeline, job: steps.Job) -> None:
    """Adds the whole job to `pipeline`."""
    read = (
        pipeline
        | "Parts" >> beam.Create(list(job.plan.units))
        | "SpreadParts" >> beam.Reshuffle()
        | "ReadImages"
        >> beam.ParDo(_ReadImages(job)).with_outputs("index", main="images")
    )
    assignment = (
        read.index
        | "GatherIndex" >> beam.CombineGlobally(splits.GatherIndex())
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


class _ReadImages(steps.RefusingDoFn):
    """Part -> batches of records; on the side, their index."""

    def __init__(self, job: steps.Job):
        super().__init__(job)
        self._read = beam.metrics.Metrics.counter("images", "read")
        self._undecodable = beam.metrics.Metrics.counter("images", "undecodable")

    def setup(self) -> None:
        self._classes = records.Classes(self._job.labels)
        self._progress = reading.Progress()

    def process(self, unit: tuple[str, ...] | None) -> Iterator[Any]:
        index: tuple[list, list, list] = ([], [], [])
        batch: list[tuple] = []
        try:
            for record in reading.read_records(self._job.plan, unit, self._classes):
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
                batch.append((row, *record[1:]))
                if len(batch) >= BATCH_RECORDS:
                    self._count(batch)
                    yield batch
                    batch = []
        except SlimlineError as error:
            self._refuse(error)
            return
        self._count(batch)
        yield batch
        yield beam.pvalue.TaggedOutput("index", index)

    def _count(self, batch: list[tuple]) -> None:
        self._read.inc(len(batch))
        self._progress.add(len(batch))


class _AssignSplits(steps.RefusingDoFn):
    """Index of the whole source -> the rule; writes summary and quarantine."""

    def process(self, parts: tuple[list, list, list]) -> Iterator[tuple | None]:
        job = self._job
        index = splits.Index.of(parts)
        if uris.list_names(job.working_uri):  # a part was refused
            yield None
            return
        try:
            acceptance.check_readable(index, job.max_unreadable_share)
            rule = splits.assign(index.rows, job.eval_fraction, job.test_fraction)
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
            split = rule.split_of(row.digest, row.split, row.text)
            if split:
                # The first bytes decide the split; later ones spread over shards evenly.
                number = int.from_bytes(row.digest[8:16], "big")
                routed[(split, number % self._job.shards[split])].append(record)
        return list(routed.items())

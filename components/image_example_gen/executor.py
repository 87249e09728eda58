"""Beam job of ImageExampleGen: a source to TFRecords of Examples in three splits.

Two passes over light and heavy data meet: rows without pixels (digest, split, class) are
gathered in one place and become the rule that says who goes where; the images follow it
into their shards. A shard is sorted by digest, so classes come mixed and a second run
writes the same bytes.
"""

import dataclasses
import hashlib
import json
import logging
import uuid
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

import apache_beam as beam
import tensorflow as tf
from tfx import types
from tfx.components.example_gen import utils as example_gen_utils
from tfx.components.util import examples_utils
from tfx.dsl.components.base import base_beam_executor
from tfx.dsl.io import fileio
from tfx.proto import example_gen_pb2
from tfx.types import artifact_utils

from components.image_example_gen import (
    archives,
    folders,
    layouts,
    reading,
    records,
    splits,
)
from schema import contract, features
from schema.errors import ConfigError, DataError, SlimlineError

CONTRACT_KEY = "contract"
EXAMPLES_KEY = "examples"
SUMMARY_FILE = "summary.json"
QUARANTINE_FILE = "quarantine.jsonl"
SHARD_PATTERN = "data_tfrecord-{:05d}-of-{:05d}.gz"
DEFAULT_SHARDS = {features.TRAIN: 4, features.EVAL: 1, features.TEST: 1}
MIN_CLASSES = 2
MAX_NAMED = 3
BATCH_RECORDS = 200
# JPEG and PNG are compressed already; more effort only costs time.
GZIP_LEVEL = 1

_LOGGER = logging.getLogger("slimline.ingest")


@dataclasses.dataclass(frozen=True)
class _Job:
    """What every worker needs to know."""

    plan: layouts.Plan
    labels: tuple[str, ...]
    eval_fraction: float
    test_fraction: float
    max_unreadable_share: float
    shards: dict[str, int]
    output_uri: str
    working_uri: str


class Executor(base_beam_executor.BaseBeamExecutor):
    """Ingests the images at `input_path`."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Writes splits, `summary.json` and `quarantine.jsonl` of the `examples` artifact.

        Raises:
          ConfigError: a property is out of range, or the format is unknown or has other
            channels.
          DataError: the source is missing, broken, holds one class only, leaves a split
            empty, or more images than allowed are unreadable.
        """
        self._log_startup(input_dict, output_dict, exec_properties)
        _check_properties(exec_properties)
        examples = artifact_utils.get_single_instance(output_dict[EXAMPLES_KEY])
        plan = layouts.plan(
            exec_properties["input_path"], exec_properties["input_format"]
        )
        _check_channels(plan.layout, exec_properties["channels"])
        shards = exec_properties.get("output_shards") or 0
        job = _Job(
            plan=plan,
            labels=_read_labels(input_dict),
            eval_fraction=exec_properties["eval_fraction"],
            test_fraction=exec_properties["test_fraction"],
            max_unreadable_share=exec_properties["max_unreadable_share"],
            shards={
                split: shards or DEFAULT_SHARDS[split] for split in features.SPLITS
            },
            output_uri=examples.uri,
            working_uri=_join(examples.uri, f".working-{uuid.uuid4().hex}"),
        )
        fileio.makedirs(job.working_uri)
        try:
            with self._make_beam_pipeline() as pipeline:
                _build(pipeline, job)
            _raise_refusal(job)
        finally:
            fileio.rmtree(job.working_uri)
        summary = _read_summary(job)
        summary |= {
            "source": str(exec_properties["input_path"]),
            "fingerprint": exec_properties["input_fingerprint"],
        }
        _write_text(_join(job.output_uri, SUMMARY_FILE), _as_json(summary))
        _describe(examples, summary)
        if summary["ignored_images"]:
            _LOGGER.warning(
                "%d image files are no part of the layout and were ignored;"
                " slimline data inspect names them",
                summary["ignored_images"],
            )
        for split, absent in summary["missing_classes"].items():
            _LOGGER.warning("no images in %s of: %s", split, ", ".join(absent[:10]))
        _LOGGER.info(
            "%s images (%s), %d unreadable, %d files ignored, %d duplicates dropped",
            f"{sum(summary['images'].values()):,}",
            summary["format"],
            summary["unreadable"],
            summary["ignored"],
            summary["duplicates_dropped"],
        )


def _check_properties(exec_properties: dict[str, Any]) -> None:
    for name in ("eval_fraction", "test_fraction", "max_unreadable_share"):
        if not 0 <= exec_properties[name] < 1:
            raise ConfigError(
                f"setting 'data.{name}' is out of range",
                found=str(exec_properties[name]),
                expected="at least 0, less than 1",
            )
    if exec_properties["eval_fraction"] + exec_properties["test_fraction"] >= 1:
        raise ConfigError(
            "'data.eval_fraction' and 'data.test_fraction' leave nothing to train on",
            found=f"{exec_properties['eval_fraction']} and"
            f" {exec_properties['test_fraction']}",
            expected="less than 1 together",
        )


def _check_channels(layout: layouts.Layout, channels: int) -> None:
    if layout.channels not in (0, channels):
        raise ConfigError(
            f"images of format {layout.format} have {layout.channels} channels,"
            f" the experiment asks for {channels}",
            tip=f"--set preprocessing.channels={layout.channels}",
        )


def _read_labels(input_dict: dict[str, list[types.Artifact]]) -> tuple[str, ...]:
    uri = artifact_utils.get_single_uri(input_dict[CONTRACT_KEY])
    path = _join(uri, contract.SCHEMA_FILE)
    with fileio.open(path, "rb") as file:
        schema_pbtxt = file.read().decode("utf-8")
    return contract.labels_of(contract.parse_schema(schema_pbtxt, path))


def _build(pipeline: beam.Pipeline, job: _Job) -> None:
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
        | "WriteShards" >> beam.ParDo(_WriteShard(job))
    )


class _RefusingDoFn(beam.DoFn):
    """Base of steps that may meet data to refuse.

    A runner turns exceptions into text of its own, with a stack; so the error is put
    down as a file, the step gives nothing more, and `Do` raises it after the job.
    """

    def __init__(self, job: _Job):
        self._job = job

    def _refuse(self, error: SlimlineError) -> None:
        text = json.dumps([type(error).__name__, *error.args])
        name = hashlib.sha256(text.encode()).hexdigest()
        _write_text(_join(self._job.working_uri, f"{name}.json"), text)


class _ReadImages(_RefusingDoFn):
    """Part -> batches of records; on the side, their index."""

    def __init__(self, job: _Job):
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
                    self._read.inc(len(batch))
                    self._progress.add(len(batch))
                    yield batch
                    batch = []
        except SlimlineError as error:
            self._refuse(error)
            return
        self._read.inc(len(batch))
        self._progress.add(len(batch))
        yield batch
        yield beam.pvalue.TaggedOutput("index", index)


class _AssignSplits(_RefusingDoFn):
    """Index of the whole source -> the rule; writes summary and quarantine."""

    def process(self, parts: tuple[list, list, list]) -> Iterator[tuple | None]:
        job = self._job
        index = splits.Index.of(parts)
        if _list(job.working_uri):
            yield None
            return
        try:
            _check_readable(index, job.max_unreadable_share)
            rule = splits.assign(index.rows, job.eval_fraction, job.test_fraction)
            _check_splits(rule)
        except DataError as error:
            self._refuse(error)
            yield None
            return
        _write_text(
            _join(job.output_uri, QUARANTINE_FILE),
            "".join(
                json.dumps({"key": key, "reason": reason}, ensure_ascii=False) + "\n"
                for key, reason in index.unreadable
            ),
        )
        ignored = [*job.plan.ignored, *(name for (name,) in index.ignored)]
        summary = {
            "format": job.plan.layout.format,
            "images": {
                split: sum(counts.values()) for split, counts in rule.images.items()
            },
            "images_per_class": rule.images,
            "missing_classes": _missing_classes(rule, job.labels),
            "unreadable": len(index.unreadable),
            "ignored": len(ignored),
            "ignored_images": sum(folders.is_image_name(name) for name in ignored),
            "duplicates_dropped": rule.duplicates_dropped,
            "duplicates_kept": rule.duplicates_kept,
            "label_conflicts": rule.label_conflicts,
        }
        _write_text(_join(job.output_uri, SUMMARY_FILE), _as_json(summary))
        yield tuple(rule)


class _ToShards(_RefusingDoFn):
    """Batches of records -> ((split, shard), records)."""

    def process(
        self, batch: list[tuple], assignment: tuple | None
    ) -> Iterable[tuple[tuple[str, int], list[tuple]]]:
        if assignment is None:  # the data are refused already; nothing is written
            return []
        rule = splits.Assignment(*assignment)
        shards = defaultdict(list)
        for record in batch:
            row = splits.Row(*record[0])
            split = rule.split_of(row.digest, row.split, row.text)
            if split:
                # The first bytes decide the split; later ones spread over shards evenly.
                number = int.from_bytes(row.digest[8:16], "big")
                shards[(split, number % self._job.shards[split])].append(record)
        return list(shards.items())


class _WriteShard(_RefusingDoFn):
    """((split, shard), records) -> one TFRecord file."""

    def process(
        self, element: tuple[tuple[str, int], Iterable[list[tuple]]]
    ) -> Iterable[None]:
        (split, shard), batches = element
        # By digest, so that classes are mixed; by key where images are equal.
        rows = sorted(
            (record for batch in batches for record in batch),
            key=lambda record: (record[0][0][16:], record[0]),
        )
        folder = _join(self._job.output_uri, f"Split-{split}")
        fileio.makedirs(folder)
        name = SHARD_PATTERN.format(shard, self._job.shards[split])
        # Beside the split and renamed, so that no reader meets half a file.
        temporary = _join(self._job.working_uri, f".{uuid.uuid4().hex}")
        options = tf.io.TFRecordOptions("GZIP", compression_level=GZIP_LEVEL)
        try:
            with tf.io.TFRecordWriter(temporary, options) as writer:
                for row, *rest in rows:
                    record = reading.Record(splits.Row(*row), *rest)
                    writer.write(self._serialize(record))
        except DataError as error:
            self._refuse(error)
            return []
        fileio.rename(temporary, _join(folder, name), overwrite=True)
        return []

    def _serialize(self, record: reading.Record) -> bytes:
        encoded = record.encoded or self._read_again(record)
        row = record.row
        values: dict[str, bytes | int] = {
            features.ENCODED: encoded,
            features.FORMAT: record.format.encode(),
            features.HEIGHT: row.height,
            features.WIDTH: row.width,
            features.LABEL: record.label,
            features.TEXT: row.text.encode("utf-8", "surrogateescape"),
            features.KEY: row.key.encode("utf-8", "surrogateescape"),
        }
        example = tf.train.Example()
        feature = example.features.feature
        for name, value in values.items():
            if isinstance(value, bytes):
                feature[name].bytes_list.value.append(value)
            else:
                feature[name].int64_list.value.append(value)
        return example.SerializeToString(deterministic=True)

    def _read_again(self, record: reading.Record) -> bytes:
        try:
            data = self._job.plan.source.read(record.name, archives.LIMITS.image_bytes)
        except (OSError, archives.MemberTooLarge) as error:
            raise _changed(record.name) from error
        if splits.digest_of(data) != record.row.digest:
            raise _changed(record.name)
        return data


def _changed(name: str) -> DataError:
    return DataError(
        f"{name} changed while it was read",
        tip="run again when nothing writes to the data any more",
    )


def _check_readable(index: splits.Index, max_share: float) -> None:
    total = len(index.rows) + len(index.unreadable)
    if not index.rows and not index.unreadable:
        raise DataError("there are no images in the data")
    share = len(index.unreadable) / total
    if not index.rows or share > max_share:
        named = "; ".join(
            f"{key}: {reason}" for key, reason in index.unreadable[:MAX_NAMED]
        )
        raise DataError(
            f"{len(index.unreadable):,} of {total:,} images are unreadable",
            found=named + ("; …" if len(index.unreadable) > MAX_NAMED else ""),
            expected=f"at most {max_share:.1%}",
            tip="mend or remove them; to accept more on purpose:"
            f" --set data.max_unreadable_share={min(0.99, share + 0.01):.2f}",
        )


def _check_splits(rule: splits.Assignment) -> None:
    classes = {text for counts in rule.images.values() for text in counts}
    if len(classes) < MIN_CLASSES:
        raise DataError(
            "the data have one class only",
            found=", ".join(classes),
            expected="two or more",
            tip="a classifier needs something to tell apart",
        )
    for split in features.SPLITS:
        if not rule.images[split]:
            raise DataError(
                f"no images are left for the split '{split}'",
                found=", ".join(
                    f"{sum(counts.values()):,} {name}"
                    for name, counts in rule.images.items()
                ),
                expected=f"at least {splits.MIN_IMAGES_TO_CUT} different images in a"
                f" class, and a share for {split}",
                tip="add images"
                + (
                    ""
                    if split == features.TRAIN
                    else f", or --set data.{split}_fraction=0.1"
                ),
            )


def _missing_classes(
    rule: splits.Assignment, labels: tuple[str, ...]
) -> dict[str, list[str]]:
    """Split -> classes of the contract without an image there; ExampleValidator objects."""
    missing = {
        split: [label for label in labels if label not in counts]
        for split, counts in rule.images.items()
    }
    return {split: absent for split, absent in missing.items() if absent}


def _raise_refusal(job: _Job) -> None:
    """Raises the error that a worker put down; the first by name where there are more."""
    kinds = {"ConfigError": ConfigError, "DataError": DataError}
    for name in sorted(_list(job.working_uri)):
        if name.endswith(".json"):
            with fileio.open(_join(job.working_uri, name)) as file:
                kind, message, found, expected, tip = json.loads(file.read())
            raise kinds[kind](message, found=found, expected=expected, tip=tip)


def _read_summary(job: _Job) -> dict[str, Any]:
    with fileio.open(_join(job.output_uri, SUMMARY_FILE)) as file:
        return json.loads(file.read())


def _describe(examples: types.Artifact, summary: dict[str, Any]) -> None:
    """Sets the artifact's properties, under the names TFX's own ExampleGens use."""
    examples.split_names = artifact_utils.encode_split_names(list(features.SPLITS))
    payload_format = example_gen_pb2.FORMAT_TF_EXAMPLE
    examples_utils.set_payload_format(examples, payload_format)
    examples.set_string_custom_property(
        example_gen_utils.FINGERPRINT_PROPERTY_NAME, summary["fingerprint"]
    )
    examples.set_string_custom_property("input_format", summary["format"])
    for split, count in summary["images"].items():
        examples.set_int_custom_property(f"images_{split}", count)
    for name in ("unreadable", "duplicates_dropped"):
        examples.set_int_custom_property(name, summary[name])


def _join(uri: str, name: str) -> str:
    # Not pathlib: it would fold the two slashes of gs://.
    return f"{uri.rstrip('/')}/{name}"


def _list(uri: str) -> list[str]:
    return [str(name) for name in fileio.listdir(uri)]


def _write_text(path: str, text: str) -> None:
    with fileio.open(path, "w") as file:
        file.write(text)


def _as_json(value: dict[str, Any]) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"

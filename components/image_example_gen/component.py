"""ImageExampleGen: labelled images to Examples in the splits train, eval and test."""

import dataclasses
import logging
import posixpath
import uuid
from typing import Any

import apache_beam as beam
from tfx import types
from tfx.components.example_gen import utils as example_gen_utils
from tfx.components.util import examples_utils
from tfx.dsl.component.experimental.annotations import (
    BeamComponentParameter,
    InputArtifact,
    OutputArtifact,
    Parameter,
)
from tfx.dsl.io import fileio
from tfx.proto import example_gen_pb2
from tfx.types import artifact_utils, standard_artifacts
from tfx.utils import io_utils

from common.errors import ConfigError
from components import artifacts
from components.image_example_gen import (
    acceptance,
    beam_job,
    layouts,
    reports,
    spans,
    splits,
    steps,
    windows,
)
from pushed_models.split_rule import SplitRule
from schema import contract as contracts
from schema import features

_LOGGER = logging.getLogger("slimline.ingest")


@artifacts.component(use_beam=True)
def ImageExampleGen(
    contract: InputArtifact[standard_artifacts.Schema],
    examples: OutputArtifact[standard_artifacts.Examples],
    input_path: Parameter[str],
    input_format: Parameter[str] = layouts.AUTO,
    input_answers: Parameter[str] = "",
    input_fingerprint: Parameter[str] = "",
    input_spans: Parameter[str] = "",
    window_spans: Parameter[int] = 1,
    eval_fraction: Parameter[float] = 0.1,
    test_fraction: Parameter[float] = 0.1,
    split_seed: Parameter[int] = 0,
    max_unreadable_share: Parameter[float] = 0.01,
    channels: Parameter[int] = 3,
    output_shards: Parameter[int] = 0,
    source_fingerprint: Parameter[str] = "",
    beam_pipeline: BeamComponentParameter[beam.Pipeline] = None,
) -> None:
    """Reads a folder or an archive of labelled images in one of `layouts.FORMATS`.

    Args:
      contract: the dataset's schema; its string domain of `image/class/text` numbers the
        classes.
      examples: as TFX's own ExampleGens give them, with `summary.json` and
        `quarantine.jsonl` besides.
      input_path: folder or archive, or a pattern of them with `{SPAN}` or a date (`spans`).
      input_format: 'auto' or one of `layouts.FORMATS`.
      input_answers: what else a person decided about the layout
        (`layouts.Answers.to_json`); its format gives way to `input_format`.
      input_fingerprint: of the contents (`fingerprint.fingerprint`); TFX's cache compares
        properties, not files.
      input_spans: which spans of the pattern to read (`spans.pin`); '' takes the newest
        that are there when the component runs.
      window_spans: how many spans to read as one dataset; unused where they are named.
      eval_fraction: share of train cut for eval where the data have none.
      test_fraction: the same for test.
      split_seed: another draw of both for every value.
      max_unreadable_share: share of images that may be left out as unreadable.
      channels: 1 or 3; raw formats must agree, image files stay as they are.
      output_shards: files a split; 0 means files of 100 to 200 MB, at least 4 for train
        (`shards.number_of`).
      source_fingerprint: of the code, for the cache.
      beam_pipeline: with the engine's arguments.

    Raises:
      ConfigError: a property is out of range, or the format is unknown or has other
        channels.
      DataError: the source is missing, broken, holds one class only, leaves a split empty,
        or more images than allowed are unreadable.
    """
    _check_shares(
        eval_fraction=eval_fraction,
        test_fraction=test_fraction,
        max_unreadable_share=max_unreadable_share,
    )
    # Kubeflow gives all numbers as floats.
    if input_spans:
        data_sets = spans.pinned(input_path, input_spans)
    else:
        data_sets = spans.resolve(input_path, window=int(window_spans))
    answers = layouts.Answers.from_json(input_answers)
    plan = windows.plan(data_sets, dataclasses.replace(answers, format=input_format))
    acceptance.check_channels(plan.layout, channels)
    schema_uri = posixpath.join(contract.uri, contracts.SCHEMA_FILE)
    schema = contracts.parse_schema(io_utils.read_string_file(schema_uri), schema_uri)
    job = steps.Job(
        plan=plan,
        labels=contracts.labels_of(schema),
        cut=splits.Cut(eval_fraction, test_fraction, int(split_seed)),
        max_unreadable_share=max_unreadable_share,
        shards=int(output_shards),
        output_uri=examples.uri,
        working_uri=posixpath.join(examples.uri, f".working-{uuid.uuid4().hex}"),
    )
    fileio.makedirs(job.spool_uri)
    try:
        with beam_pipeline:
            beam_job.build(beam_pipeline, job)
        steps.raise_refusal(job)
    finally:
        fileio.rmtree(job.working_uri)
    summary = reports.read_summary(job.output_uri) | {
        "source": input_path,
        "fingerprint": input_fingerprint,
        "spans": [
            {"span": data.span, "version": data.version, "path": str(data.path)}
            for data in data_sets
            if data.span is not None
        ],
    }
    reports.write_summary(job.output_uri, summary)
    artifacts.write_examples(examples, summary["images_per_class"])
    _describe(examples, summary, data_sets[-1])
    _log(summary)


def _check_shares(**shares: float) -> None:
    for name, share in shares.items():
        if not 0 <= share < 1:
            raise ConfigError(
                f"setting 'data.{name}' is out of range",
                found=str(share),
                expected="at least 0, less than 1",
            )
    eval_fraction, test_fraction = shares["eval_fraction"], shares["test_fraction"]
    if eval_fraction + test_fraction >= 1:
        raise ConfigError(
            "'data.eval_fraction' and 'data.test_fraction' leave nothing to train on",
            found=f"{eval_fraction} and {test_fraction}",
            expected="less than 1 together",
        )


def _describe(
    examples: types.Artifact, summary: dict[str, Any], newest: spans.DataSet
) -> None:
    """Sets the artifact's properties, under the names TFX's own ExampleGens use."""
    if newest.span is not None:
        # As a property for StatisticsGen, as a custom one for resolvers, as TFX does.
        examples.span = newest.span
        examples.set_int_custom_property(
            example_gen_utils.SPAN_PROPERTY_NAME, newest.span
        )
    if newest.version is not None:
        examples.version = newest.version
        examples.set_int_custom_property(
            example_gen_utils.VERSION_PROPERTY_NAME, newest.version
        )
    examples.split_names = artifact_utils.encode_split_names(list(features.SPLITS))
    examples_utils.set_payload_format(examples, example_gen_pb2.FORMAT_TF_EXAMPLE)
    examples.set_string_custom_property(
        example_gen_utils.FINGERPRINT_PROPERTY_NAME, summary["fingerprint"]
    )
    examples.set_string_custom_property("input_format", summary["format"])
    # Into the model goes what its training was not to see.
    artifacts.write_split_rule(examples, SplitRule(**summary["split_rule"]))
    for split, count in summary["images"].items():
        examples.set_int_custom_property(f"images_{split}", count)
    for name in ("unreadable", "duplicates_dropped"):
        examples.set_int_custom_property(name, summary[name])


def _log(summary: dict[str, Any]) -> None:
    if summary["ignored_images"]:
        _LOGGER.warning(
            "%d image files are no part of the layout and were ignored;"
            " slimline data inspect names them",
            summary["ignored_images"],
        )
    for split, absent in summary["missing_classes"].items():
        _LOGGER.warning("no images in %s of: %s", split, ", ".join(absent[:10]))
    if summary["few_groups"]:
        _LOGGER.warning("%s", acceptance.too_few_groups(summary["few_groups"]))
    _LOGGER.info(
        "%s images (%s), %d unreadable, %d files ignored, %d duplicates dropped",
        f"{sum(summary['images'].values()):,}",
        summary["format"],
        summary["unreadable"],
        summary["ignored"],
        summary["duplicates_dropped"],
    )

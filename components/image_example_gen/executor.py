"""TFX executor of ImageExampleGen: properties and artifacts around the Beam job."""

import dataclasses
import logging
import uuid
from typing import Any

from tfx import types
from tfx.components.example_gen import utils as example_gen_utils
from tfx.components.util import examples_utils
from tfx.dsl.components.base import base_beam_executor
from tfx.dsl.io import fileio
from tfx.proto import example_gen_pb2
from tfx.types import artifact_utils

from common.errors import ConfigError
from components import artifacts
from components.image_example_gen import (
    acceptance,
    beam_job,
    layouts,
    outlook,
    reports,
    spans,
    steps,
    uris,
    windows,
)
from pushed_models.split_rule import SplitRule
from schema import contract, features

CONTRACT_KEY = "contract"
EXAMPLES_KEY = "examples"

_LOGGER = logging.getLogger("slimline.ingest")


class Executor(base_beam_executor.BaseBeamExecutor):
    """Ingests the images at `input_path`."""

    @artifacts.checked
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
        data_sets = _resolve(exec_properties)
        job = _make_job(data_sets, exec_properties, input_dict, examples.uri)
        fileio.makedirs(job.spool_uri)
        try:
            with self._make_beam_pipeline() as pipeline:
                beam_job.build(pipeline, job)
            steps.raise_refusal(job)
        finally:
            fileio.rmtree(job.working_uri)
        summary = reports.read_summary(job.output_uri) | {
            "source": str(exec_properties["input_path"]),
            "fingerprint": exec_properties["input_fingerprint"],
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


def _resolve(exec_properties: dict[str, Any]) -> tuple[spans.DataSet, ...]:
    """The data sets to read: those pinned before the run, else the newest there are."""
    path, pinned = exec_properties["input_path"], exec_properties.get("input_spans", "")
    if pinned:
        return spans.pinned(path, pinned)
    return spans.resolve(path, window=int(exec_properties.get("window_spans") or 1))


def _make_job(
    data_sets: tuple[spans.DataSet, ...],
    exec_properties: dict[str, Any],
    input_dict: dict[str, list[types.Artifact]],
    output_uri: str,
) -> steps.Job:
    answers = layouts.Answers.from_json(exec_properties.get("input_answers") or "")
    answers = dataclasses.replace(answers, format=exec_properties["input_format"])
    plan = windows.plan(data_sets, answers)
    acceptance.check_channels(plan.layout, exec_properties["channels"])
    return steps.Job(
        plan=plan,
        labels=_read_labels(input_dict),
        eval_fraction=exec_properties["eval_fraction"],
        test_fraction=exec_properties["test_fraction"],
        split_seed=int(exec_properties.get("split_seed") or 0),
        max_unreadable_share=exec_properties["max_unreadable_share"],
        shards=exec_properties.get("output_shards") or 0,
        output_uri=output_uri,
        working_uri=uris.join(output_uri, f".working-{uuid.uuid4().hex}"),
    )


def _read_labels(input_dict: dict[str, list[types.Artifact]]) -> tuple[str, ...]:
    folder = artifact_utils.get_single_uri(input_dict[CONTRACT_KEY])
    uri = uris.join(folder, contract.SCHEMA_FILE)
    return contract.labels_of(contract.parse_schema(uris.read_text(uri), uri))


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
    payload_format = example_gen_pb2.FORMAT_TF_EXAMPLE
    examples_utils.set_payload_format(examples, payload_format)
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
        _LOGGER.warning("%s", outlook.too_few_groups(summary["few_groups"]))
    _LOGGER.info(
        "%s images (%s), %d unreadable, %d files ignored, %d duplicates dropped",
        f"{sum(summary['images'].values()):,}",
        summary["format"],
        summary["unreadable"],
        summary["ignored"],
        summary["duplicates_dropped"],
    )

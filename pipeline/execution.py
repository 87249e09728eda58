"""One run of a pipeline on this machine, from configuration to summary."""

import contextlib
import dataclasses
import datetime
import importlib.metadata
import json
import logging
import pathlib
import platform
import shutil
import time
from collections.abc import Iterator, Mapping

import tensorflow as tf
from tfx.orchestration import pipeline as tfx_pipeline
from tfx.types import artifact_utils

from common import run_files
from common.errors import ConfigError, interrupts_unwrapped
from components import nodes
from components.image_example_gen import reports, spans
from components.infra_check import node as infra
from components.model_evaluator import node as evaluation
from components.model_evaluator import scores
from components.net_trainer import node as training
from pipeline import dag, fingerprint, inputs, progress
from pipeline.beam import engines
from pipeline.config import PipelineConfig
from pipeline.observed_runner import ComponentResult, ObservedRunner
from pipeline.runs import (
    lineage,
    model_card,
    partial_runs,
    parts,
    pushed,
    remote_roots,
    run_store,
    runs,
)
from pipeline.runs.summary import Summary
from pushed_models import models_config, versions
from report import curves, drawing
from schema import features
from storage import durable
from trainer import history, input_pipeline, precision, unfinished, warm_start
from trainer.config import as_json
from trainer.weights import store

_LOGGER = logging.getLogger("slimline.run")
SAMPLES = 3
# Test images searched for samples of different classes.
MAX_SEARCHED = 200


def run(
    config: PipelineConfig,
    *,
    root: pathlib.Path,
    run_folder: pathlib.Path,
    origins: Mapping[str, str],
    use_cache: bool = True,
    deploys: bool = True,
) -> Summary:
    """Runs every component that is not served from the cache.

    Args:
      config: the experiment.
      root: TFX artifacts go to `<root>/<identity>`, pushed models to
        `<root>/serving/<model name>`, metadata to `<root>/metadata.sqlite`.
      run_folder: existing folder of this run; history, summary and samples go there.
      origins: where each setting came from, for the log.
      use_cache: False runs everything again.
      deploys: False compares with no earlier model and pushes nothing.

    Raises:
      ConfigError, DataError, TrainError: what the user can correct.
    """
    done = _execute(config, parts.Part(), root, run_folder, origins, use_cache, deploys)
    return _conclude(config, done, checks_images=deploys)


def run_part(
    config: PipelineConfig,
    part: parts.Part,
    *,
    root: pathlib.Path,
    run_folder: pathlib.Path,
    origins: Mapping[str, str],
    use_cache: bool = True,
) -> Summary | parts.Outcome:
    """Runs some components, reusing upstream outputs of the newest matching run.

    Args:
      config: the experiment.
      part: which components.
      root, run_folder, origins, use_cache: as for `run`.

    Returns:
      A summary where the run has a verdict on a model, its own or the earlier run's.

    Raises:
      ConfigError: there is no such part, or no earlier run has what it needs and the same
        settings for it.
      DataError, TrainError: what the user can correct.
    """
    done = _execute(config, part, root, run_folder, origins, use_cache, deploys=True)
    if "evaluate" in done.results:
        return _conclude(config, done, checks_images=True)
    outcome = parts.Outcome(
        run=done.run_folder.name,
        folder=str(done.run_folder),
        experiment=config.name,
        part=str(part),
        base=done.base,
        details={
            name: dag.NODES[name].describe(result.outputs).detail
            for name, result in done.results.items()
        },
        seconds={name: result.seconds for name, result in done.results.items()},
        total_seconds=done.seconds,
    )
    parts.write(done.run_folder, outcome)
    return outcome


@dataclasses.dataclass(frozen=True)
class _Done:
    """What has run.

    Attributes:
      part: which components were to run.
      base: run that the others are from, '' where nothing was needed.
      root, run_folder: absolute.
      resolved: inputs.
      results: by component, with those from the base.
      seconds: wall time.
    """

    part: parts.Part
    base: str
    root: pathlib.Path
    run_folder: pathlib.Path
    resolved: inputs.Inputs
    results: Mapping[str, ComponentResult]
    seconds: float


def _execute(
    config: PipelineConfig,
    part: parts.Part,
    root: pathlib.Path,
    run_folder: pathlib.Path,
    origins: Mapping[str, str],
    use_cache: bool,
    deploys: bool,
) -> _Done:
    start = time.monotonic()
    for key, origin in sorted(origins.items()):
        _LOGGER.info("%s from %s", key, origin)
    root, run_folder = root.resolve(), run_folder.resolve()
    # An unreadable file would fail the run at its push.
    models_config.read(root / versions.SERVING_FOLDER)
    if deploys and part.reaches("push"):
        pushed.check(config, root)
    resolved = inputs.resolve(config, root)
    if (span := resolved.data_sets[-1].span) is not None:
        runs.note_span(run_folder, span)
    configured, config = config, _with_blessed_weights(config, resolved, root)
    if config.train.weights and not store.is_published(config.train.weights):
        warm_start.check(config.trainer, len(resolved.contract.labels))
    runner = ObservedRunner(dag.describe, _run_id(run_folder))
    with (
        runs.lock(root, resolved.identity),
        noting_training_folder(run_folder),
        remote_roots.in_use(root, resolved.identity),
    ):
        run_store.prepare(root / lineage.METADATA_FILE)
        trainer_root = root / resolved.identity / "train"
        config = _with_precision(config, trainer_root if use_cache else None)
        pipeline = create_pipeline(config, resolved, root, use_cache, deploys)
        options = None
        if part:
            group = runs.group_of(run_folder)
            options = partial_runs.options(configured, part, pipeline, root, group)
        if not use_cache:
            unfinished.forget(trainer_root)
        # Beam wraps whatever ends a component.
        with interrupts_unwrapped(), engines.started(config.engine):
            runner.run(pipeline, options)
    base = (options and options.base_pipeline_run_id) or ""
    seconds = time.monotonic() - start
    return _Done(part, base, root, run_folder, resolved, runner.results, seconds)


def _conclude(config: PipelineConfig, done: _Done, *, checks_images: bool) -> Summary:
    """Writes summary, report and model card of a run with a verdict."""
    summary = _summarise(config, done)
    _write_summary(done.run_folder, summary, done.results)
    are_few = sum(summary.images.values()) <= config.data.check_images
    _report(done.run_folder, done.results, checks_images=checks_images and are_few)
    if summary.pushed_path:
        version = pathlib.Path(summary.pushed_path)
        model_card.write(version, lineage.of_version(done.root, version))
    return summary


def _run_id(run_folder: pathlib.Path) -> str:
    """The run's id in TFX, unique under its root."""
    if run_folder.parent.name != runs.MEMBERS_FOLDER:
        return run_folder.name
    return f"{run_folder.parents[1].name}.{run_folder.name}"


def _with_blessed_weights(
    config: PipelineConfig, resolved: inputs.Inputs, root: pathlib.Path
) -> PipelineConfig:
    """Replaces `train.weights=blessed` by the folder of the live version.

    Raises:
      ConfigError: none was pushed yet.
    """
    if config.train.weights != store.BLESSED:
        return config
    folder = root / versions.SERVING_FOLDER / resolved.model_name
    live = models_config.live(folder)
    if live is None:
        raise ConfigError(
            f"no model '{resolved.model_name}' was pushed yet to start from",
            tip="leave train.weights out for the first run",
        )
    train = dataclasses.replace(config.train, weights=str(folder / str(live)))
    return dataclasses.replace(config, train=train)


def _with_precision(
    config: PipelineConfig, trainer_root: pathlib.Path | None
) -> PipelineConfig:
    """Replaces `train.precision=auto` by this machine's, for the key of the cache.

    Args:
      config: the experiment.
      trainer_root: folder of its unfinished trainings, whose precision stays; None to
        ignore them.
    """
    begun = ""
    if trainer_root:
        begun = unfinished.precision_of(trainer_root, as_json(config.trainer))
    train = precision.decide(config.trainer, begun).train
    return dataclasses.replace(config, train=train)


def create_pipeline(
    config: PipelineConfig,
    resolved: inputs.Inputs,
    root: pathlib.Path,
    use_cache: bool = True,
    deploys: bool = True,
) -> tfx_pipeline.Pipeline:
    """The DAG of an experiment with everything below `root`, an absolute path."""
    serving_folder = root / versions.SERVING_FOLDER / resolved.model_name
    if not deploys:  # a folder without models: there is nothing to compare with
        serving_folder = root / resolved.identity / versions.SERVING_FOLDER
    return dag.create_pipeline(
        config,
        resolved.contract,
        dag.Locations(
            pipeline_root=str(root / resolved.identity),
            serving_folder=str(serving_folder),
            input_path=str(resolved.path),
            input_fingerprint=resolved.fingerprint,
            input_spans=spans.pin(resolved.data_sets),
        ),
        engines.arguments(config.engine),
        pipeline_name=resolved.identity,
        metadata_path=root / lineage.METADATA_FILE,
        use_cache=use_cache,
        deploys=deploys,
    )


@contextlib.contextmanager
def noting_training_folder(run_folder: pathlib.Path) -> Iterator[None]:
    """Writes the folder of the training to a file, for `slimline control`."""

    class Note(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.getMessage() == "train_folder":
                folder = record.fields["folder"]  # type: ignore[attr-defined]
                durable.write_text(run_folder / runs.TRAINING_FOLDER_FILE, folder)

    note = Note()
    progress.LOGGER.addHandler(note)
    try:
        yield
    finally:
        progress.LOGGER.removeHandler(note)


def _summarise(config: PipelineConfig, done: _Done) -> Summary:
    run_folder, results = done.run_folder, done.results
    examples = pathlib.Path(nodes.only(results["ingest"].outputs, "examples").uri)
    facts = reports.read_summary(str(examples))
    result = training.read(results["train"].outputs)
    verdict = evaluation.read(results["evaluate"].outputs)
    served = (
        infra.read(nodes.only(results["infra"].outputs, "blessing").uri)
        if "infra" in results
        else None
    )
    quarantine = str(examples / reports.QUARANTINE_FILE)
    version, path = _pushed(results)
    return Summary(
        run=run_folder.name,
        folder=str(run_folder),
        experiment=config.name,
        passed=verdict["is_blessed"] and (served is None or served["is_blessed"]),
        is_cached=all(result.is_cached for result in results.values()),
        images=facts["images"],
        images_per_class=facts["images_per_class"],
        unreadable=facts["unreadable"],
        quarantine=quarantine if facts["unreadable"] else None,
        num_classes=len(done.resolved.contract.labels),
        net=result["net"],
        parameters=result["parameters"],
        steps=result["steps"],
        best_step=result["best"]["step"],
        eval_top_1=result["best"]["top_1"],
        weights=result["best"]["weights"],
        data_fingerprint=facts["fingerprint"],
        metrics=verdict["metrics"],
        intervals=verdict["intervals"],
        baseline_metrics=verdict["baseline_metrics"],
        baseline_version=verdict["baseline_version"],
        differences=verdict["differences"],
        classes=verdict.get("classes"),
        per_class=verdict["per_class"],
        most_confused=scores.most_confused(verdict["confusion"], verdict["labels"]),
        rules=verdict["rules"],
        verdict=verdict["sentences"],
        refusals=verdict["refusals"],
        infra_rules=served["rules"] if served else [],
        infra_refusals=served["refusals"] if served else [],
        pushed_version=version,
        pushed_path=path,
        seconds={name: result.seconds for name, result in results.items()},
        total_seconds=done.seconds,
        training_seconds=result["seconds"],
        sample_images=_write_samples(run_folder, results["ingest"].outputs),
        part=str(done.part) if done.part else None,
        base=done.base or None,
        start=result.get("start"),
        head_top_1=result.get("head_top_1"),
        findings=list(result.get("findings", ())),
        is_gate_open=verdict.get("is_gate_open", False),
        cross_validation=verdict.get("cross_validation"),
        test_time_views=verdict.get("test_time_views"),
    )


def _pushed(results: Mapping[str, ComponentResult]) -> tuple[str | None, str | None]:
    """Version and folder of the pushed model, or None."""
    if "push" not in results:
        return None, None
    artifact = nodes.only(results["push"].outputs, "pushed_model")
    return (
        artifact.get_string_custom_property("pushed_version") or None,
        artifact.get_string_custom_property("pushed_destination") or None,
    )


def _write_summary(
    run_folder: pathlib.Path, summary: Summary, results: Mapping[str, ComponentResult]
) -> None:
    """Writes tables and curves of the training, and `summary.json`."""
    run_dir = pathlib.Path(nodes.only(results["train"].outputs, "model_run").uri)
    for name in history.FILES:
        if (run_dir / name).is_file():
            shutil.copy(run_dir / name, run_folder / name)
    top_1 = f"test top-1 {summary.metrics['top_1']:.4f}"
    drawing.save(
        curves.of_run(run_folder),
        run_folder / run_files.CURVES_FILE,
        f"{summary.experiment}: {summary.net}, {top_1}",
    )
    record = dataclasses.asdict(summary) | {
        "finished": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "versions": {
            "Python": platform.python_version(),
            "TensorFlow": tf.__version__,
            "TFX": importlib.metadata.version("tfx"),
            "slimline": importlib.metadata.version("slimline"),
        },
        "source_fingerprint": fingerprint.source(
            dag.__name__, dag.PREPROCESSING_FN, dag.RUN_FN
        ),
        "artifacts": {
            name: {
                key: [artifact.uri for artifact in artifacts]
                for key, artifacts in result.outputs.items()
            }
            for name, result in results.items()
        },
    }
    durable.write_text(run_folder / runs.SUMMARY_FILE, json.dumps(record, indent=1))


def _report(
    run_folder: pathlib.Path,
    results: Mapping[str, ComponentResult],
    *,
    checks_images: bool,
) -> None:
    """Writes the page about a run; the run has ended, so errors are only logged."""
    start = time.monotonic()
    progress.tell("component_started", component="report")
    if checks_images:
        with _logged("the images could not be checked"):
            # A broken installation of the extra 'data' is only logged, too.
            from pipeline.runs import data_findings

            data_findings.write(
                run_folder,
                nodes.only(results["ingest"].outputs, "examples").uri,
                nodes.only(results["evaluate"].outputs, "evaluation").uri,
            )
    with _logged("the report could not be made"):
        from report import building

        building.build(run_folder)
    is_made = (run_folder / run_files.REPORT_FILE).is_file()
    progress.tell(
        "component_finished",
        component="report",
        seconds=time.monotonic() - start,
        is_cached=False,
        detail=run_files.REPORT_FILE if is_made else "could not be made",
        is_good=is_made,
    )


@contextlib.contextmanager
def _logged(message: str) -> Iterator[None]:
    """Logs an exception and continues after the block."""
    try:
        yield
    except Exception:
        _LOGGER.exception(message)


def _write_samples(run_folder: pathlib.Path, outputs: nodes.Outputs) -> dict[str, str]:
    """A few test images as files, of different classes, to try the model on."""
    uri = artifact_utils.get_split_uri(outputs["examples"], features.TEST)
    files = sorted(str(path) for path in pathlib.Path(uri).iterdir())
    folder = run_folder / "samples"
    folder.mkdir(exist_ok=True)
    classes: dict[str, str] = {}
    for serialised in tf.data.TFRecordDataset(files, input_pipeline.COMPRESSION).take(
        MAX_SEARCHED
    ):
        feature = tf.train.Example.FromString(serialised.numpy()).features.feature
        text = feature[features.TEXT].bytes_list.value[0].decode()
        if text in classes.values():
            continue
        suffix = feature[features.FORMAT].bytes_list.value[0].decode()
        # A number, not the class name: names of classes never become paths.
        path = folder / f"{len(classes)}.{suffix}"
        path.write_bytes(feature[features.ENCODED].bytes_list.value[0])
        classes[str(path)] = text
        if len(classes) == SAMPLES:
            break
    return classes

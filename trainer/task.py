"""The Trainer's entry point: wiring only.

TFX reloads this module, so it holds functions only.
"""

import dataclasses
import json
import pathlib
import shutil
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow_transform as tft
from tfx.components.trainer.fn_args_utils import FnArgs

from common.errors import ConfigError
from pushed_models import signatures
from schema import contract, example_counts
from schema.features import EVAL, TRAIN
from storage import durable, manifest
from trainer import (
    export,
    features,
    head_settings,
    history,
    input_pipeline,
    precision,
    recording,
    test_time,
    training,
    transfer,
    unfinished,
    warm_start,
    warm_up,
)
from trainer.config import TrainerConfig, from_json


def run_fn(fn_args: FnArgs) -> None:
    """Trains on `train`, selects on `eval`, exports the best weights and some predictions.

    An interrupted training resumes: its folder is named by a digest of everything it depends
    on, and moves to its place in TFX when it is done.

    Args:
      fn_args: `custom_config` holds `{'config': TrainerConfig as a dict,
        'source_fingerprint': of the code, 'weights_fingerprint': of the weights to start
        from, 'examples': split -> class -> number of ingested images, 'split_rule': by
        which images were kept for test, or ''}`.

    Raises:
      DataError: the files hold other examples than were ingested.
    """
    given = fn_args.custom_config["config"]
    trainer_root = pathlib.Path(fn_args.model_run_dir).parents[1]
    config = precision.decide(
        from_json(TrainerConfig, given), unfinished.precision_of(trainer_root, given)
    )
    labels = contract.read_labels(pathlib.Path(fn_args.schema_path))
    transform = tft.TFTransformOutput(fn_args.transform_graph_path)
    cache_bytes = config.train.cache_bytes
    causes = {**_causes(fn_args), "precision": config.train.precision}
    run_dir = unfinished.claim(pathlib.Path(fn_args.model_run_dir), causes)
    if head_settings.is_head_only(config.train):
        cache_bytes = 0  # each image is looked at once
    start = transfer.start_of(config.train, labels, run_dir)
    expected = fn_args.custom_config.get("weights_fingerprint") or start.fingerprint
    if start.fingerprint != expected:
        raise ConfigError(
            f"the weights '{config.train.weights}' have changed since the run was set up",
            found=start.fingerprint,
            expected=expected,
        )
    train_split, eval_split = (
        input_pipeline.load_split(files, transform, cache_bytes)
        for files in (fn_args.train_files, fn_args.eval_files)
    )
    _refuse_other_examples(fn_args, labels, {TRAIN: train_split, EVAL: eval_split})
    result = training.train(
        config,
        train_split,
        eval_split,
        len(labels),
        run_dir,
        start,
        features.Cache(
            trainer_root / features.FOLDER, _feature_causes(config, start, fn_args)
        ),
    )
    shutil.rmtree(run_dir / transfer.START_FOLDER, ignore_errors=True)
    # Before the export: it loads the Transform graph into a graph of its own, and
    # `transform` cannot be applied outside of that any more.
    weights = result.checkpoint, result.best.weights
    recorded = recording.record(run_dir, config, eval_split, len(labels), *weights)
    export.export(fn_args.serving_model_dir, config, transform, labels, *weights)
    model = pathlib.Path(fn_args.serving_model_dir)
    warm_up.add(model, recorded)
    transfer.add_cross_validation(run_dir, model)
    _add_extra(model, signatures.WARNINGS_FILE, json.dumps(result.findings))
    if (views := config.model.test_time_views) != test_time.NONE:
        _add_extra(model, signatures.VIEWS_FILE, json.dumps(views))
    if rule := fn_args.custom_config.get("split_rule"):
        _add_extra(model, signatures.SPLIT_RULE_FILE, rule)
    facts = dataclasses.asdict(result) | {
        "net": config.model.net,
        "precision": config.train.precision,
        "test_time_views": views,
        "start": start.about,
        "head_top_1": history.head_top_1(run_dir),
    }
    del facts["checkpoint"]  # its path is about to change
    durable.write_text(run_dir / history.RESULT_FILE, json.dumps(facts))
    unfinished.finish(run_dir, pathlib.Path(fn_args.model_run_dir))


def _add_extra(model: pathlib.Path, name: str, text: str) -> None:
    """Puts a file that the gate reads into a SavedModel."""
    folder = model / manifest.EXTRA_FOLDER
    folder.mkdir(exist_ok=True)
    durable.write_text(folder / name, text)


def _refuse_other_examples(
    fn_args: FnArgs, labels: Sequence[str], splits: Mapping[str, input_pipeline.Split]
) -> None:
    """Raises DataError if a split has other numbers of examples than were ingested."""
    ingested = fn_args.custom_config.get("examples", {})
    for name, split in splits.items():
        counts = np.bincount(split.labels, minlength=len(labels)).tolist()
        example_counts.refuse_difference(
            name, dict(zip(labels, counts, strict=True)), ingested.get(name, {})
        )


def _feature_causes(
    config: TrainerConfig, start: warm_start.Start, fn_args: FnArgs
) -> dict[str, Any]:
    """What features depend on besides the images and the settings of the net."""
    code = fn_args.custom_config["source_fingerprint"]
    causes = {"weights": start.fingerprint, "code": code}
    if config.preprocessing.standardise == "dataset":
        causes["transform_graph"] = fn_args.transform_graph_path
    return causes


def _causes(fn_args: FnArgs) -> dict[str, Any]:
    """All that the result depends on; equal causes continue the same training."""
    return {
        "custom_config": fn_args.custom_config,
        "train_files": fn_args.train_files,
        "eval_files": fn_args.eval_files,
        "transform_graph": fn_args.transform_graph_path,
        "schema": fn_args.schema_path,
    }

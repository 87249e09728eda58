"""Fits the class layer alone, on features of existing weights."""

import dataclasses
import json
import logging
import pathlib
import shutil
import time
from collections.abc import Sequence
from typing import Any

from pushed_models import signatures
from storage import durable, manifest
from trainer import (
    checkpoints,
    class_rows,
    features,
    head,
    history,
    hooks,
    sampling,
    warm_start,
)
from trainer.config import TrainConfig, TrainerConfig
from trainer.evaluation import Measurement
from trainer.input_pipeline import Split
from trainer.nets.blocks import CLASS_LAYER
from trainer.weights import store

_LOGGER = logging.getLogger("slimline.train")
_PROGRESS = logging.getLogger("slimline.progress")

START_FOLDER = "start"
# With more images a test split is large enough to judge by.
CROSS_VALIDATED_IMAGES = 1000
FOLDS = 5


def start_of(
    train: TrainConfig, labels: Sequence[str], run_dir: pathlib.Path
) -> warm_start.Start:
    """Where a training starts.

    Published weights are written to a checkpoint in `run_dir`. Their class layer is kept
    where it is for the same classes in the same order. The class layer of a model with class
    names, as a pushed one, is rearranged by name (`class_rows`), also in a checkpoint in
    `run_dir`.

    Raises:
      ConfigError: there are no such weights.
    """
    checkpoint = str(run_dir / START_FOLDER / "weights")
    if not store.is_published(train.weights):
        start = warm_start.start_of(train)
        before = class_rows.labels_of(train.weights)
        if before not in ((), tuple(labels)) and (
            CLASS_LAYER not in train.weights_exclude
        ):
            (run_dir / START_FOLDER).mkdir(exist_ok=True)
            class_rows.write(checkpoint, start.checkpoint, before, labels)
            start = dataclasses.replace(start, checkpoint=checkpoint)
        fingerprint = store.fingerprint(train.weights)
        return dataclasses.replace(start, fingerprint=fingerprint)
    published = store.load(train.weights)
    excluded = train.weights_exclude
    if published.manifest.labels != tuple(labels):
        excluded = (*excluded, CLASS_LAYER)
    (run_dir / START_FOLDER).mkdir(exist_ok=True)
    checkpoints.write_values(checkpoint, published.arrays)
    return warm_start.Start(
        checkpoint,
        excluded,
        fingerprint=store.fingerprint(train.weights),
        about=dataclasses.asdict(published.manifest),
    )


def fit_head(
    config: TrainerConfig,
    train_split: Split,
    eval_split: Split,
    num_classes: int,
    run_dir: pathlib.Path,
    kept: checkpoints.CheckpointStore,
    checkpoint: str,
    cache: features.Cache,
) -> None:
    """Fits the class layer and commits the net with it as the checkpoint of step 0.

    Fits one with each of `train.head_weight_decays`, lists all in the table of heads and
    takes the best on eval: highest top-1, then lowest cross-entropy.

    A tiny test split measures little, so with few images the result of a cross-validation
    over train and eval is written into `run_dir`, too.

    Args:
      train_split, eval_split: to fit on, and to choose by.
      run_dir: folder of the training.
      kept: for the checkpoint.
      checkpoint: of the net's weights.
      cache: for features.
    """
    began_at = time.monotonic()
    train = config.train
    folder = cache.folder(config, {"train": train_split, "eval": eval_split})
    with features.Extractor(config, checkpoint, folder) as extractor:
        views = [
            extractor.examples(train_split, "train", view)
            for view in range(train.head_views + 1)
        ]
        eval_examples = extractor.examples(eval_split, "eval")
        values = extractor.values()
    fitted = []
    class_weights = None
    # On all examples at once, drawing each class equally often means weighting them so.
    if train.class_weights == "balanced" or train.balanced_sampling:
        class_weights = sampling.class_weights(train_split.labels, num_classes)
    how: dict[str, Any] = {
        "class_weights": class_weights,
        "label_smoothing": train.label_smoothing,
    }
    examples = head.joined(views)
    for candidate in head.fit(examples, num_classes, train.head_weight_decays, **how):
        measurement = Measurement(0, "raw", *candidate.measure(eval_examples))
        fitted.append((candidate, measurement))
        _LOGGER.info(
            "class layer with weight decay %g: eval top-1 %.4f, cross-entropy %.4f",
            candidate.weight_decay,
            measurement.top_1,
            measurement.cross_entropy,
        )
    chosen, measured = max(
        fitted, key=lambda pair: (pair[1].top_1, -pair[1].cross_entropy)
    )
    _record(run_dir, train, fitted, chosen, measured)
    known = head.joined([views[0], eval_examples])
    if len(known.labels) <= CROSS_VALIDATED_IMAGES:
        folds = min(FOLDS, len(known.labels))
        hits = head.cross_validate(
            known, num_classes, chosen.weight_decay, folds, **how
        )
        facts = {"hits": hits, "images": len(known.labels), "folds": folds}
        durable.write_text(
            run_dir / signatures.CROSS_VALIDATION_FILE, json.dumps(facts)
        )
    scope = f"{config.model.net}/{CLASS_LAYER}"
    values |= {f"{scope}/weights": chosen.weights, f"{scope}/biases": chosen.biases}
    state = hooks.State(
        best=measured,
        is_measured=True,
        loss=chosen.loss,
        seconds=time.monotonic() - began_at,
    )
    kept.put(0, values, dataclasses.asdict(state))
    _PROGRESS.info("train_eval", extra={"fields": dataclasses.asdict(measured)})


def add_cross_validation(run_dir: pathlib.Path, model: pathlib.Path) -> None:
    """Copies the result of a cross-validation, where there is one, into a SavedModel."""
    file = run_dir / signatures.CROSS_VALIDATION_FILE
    if file.is_file():
        folder = model / manifest.EXTRA_FOLDER
        folder.mkdir(exist_ok=True)
        shutil.copyfile(file, folder / file.name)


def _record(
    run_dir: pathlib.Path,
    train: TrainConfig,
    fitted: list[tuple[head.Head, Measurement]],
    chosen: head.Head,
    measured: Measurement,
) -> None:
    heads = history.heads(run_dir)
    heads.path.unlink(missing_ok=True)
    for candidate, measurement in fitted:
        heads.append(
            {
                "weight_decay": candidate.weight_decay,
                "loss": candidate.loss,
                "eval_top_1": measurement.top_1,
                "eval_cross_entropy": measurement.cross_entropy,
            }
        )
    measurements = history.measurements(run_dir)
    measurements.path.unlink(missing_ok=True)
    # Moving averages start with the weights, so they measure the same.
    kinds = ("raw", "ema") if train.ema_decay else ("raw",)
    figures = measured.top_1, measured.cross_entropy
    by_weights = dict.fromkeys(kinds, figures)
    measurements.append(history.measurement(0, chosen.loss, 0.0, by_weights))

"""A model measured on any labelled images; see `slimline evaluate`."""

import dataclasses
import os
import pathlib
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa

from common.errors import ConfigError, DataError
from components.image_example_gen import inspection, layouts, records
from components.model_evaluator import classes, figures, predictions
from components.model_evaluator.figures import Figures
from data_check import labelled_images
from pipeline import answers
from pipeline.config import DataConfig
from pushed_models import class_names
from schema import features
from serving import encoding, local_model
from slimline import data

if TYPE_CHECKING:
    from serving.local_model import LocalModel

    Images = Iterable[labelled_images.LabelledImage | records.Unreadable]

ALL = inspection.ALL


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """How good a model is on a data set.

    Attributes:
      model: folder of the SavedModel.
      data: folder or archive of the images.
      splits: split -> images, of the whole data set; 'all' where it has no splits.
      split: the one that was measured, or 'all'.
      figures: what was measured.
      skipped: class that the model does not know -> images left out.
      missing: classes of the model without an image.
      unreadable: images left out, each with the reason.
      notes: how classes and splits were chosen, and what that means for the figures.
    """

    model: str
    data: str
    splits: Mapping[str, int]
    split: str
    figures: Figures
    skipped: Mapping[str, int]
    missing: tuple[str, ...]
    unreadable: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]

    @property
    def metrics(self) -> Mapping[str, float]:
        """`top_1`, `cross_entropy` and so on; see `Figures`."""
        return self.figures.metrics

    def to_frame(self) -> pd.DataFrame:
        """A row a class: precision, recall, f1 and support."""
        return pd.DataFrame.from_dict(dict(self.figures.per_class), orient="index")

    def __repr__(self) -> str:
        images = f"{self.metrics['example_count']:,.0f} images"
        return f"<Evaluation on {images}: top-1 {self.metrics['top_1']:.4f}>"


def measure(
    model: "LocalModel",
    path: str | os.PathLike[str],
    config: DataConfig,
    *,
    split: str | None,
    by_number: bool,
    skips_unknown: bool,
    watch: "Callable[[Images], Images]" = iter,
) -> Evaluation:
    """Measures `model` on the images at `path`.

    Args:
      model, config: the model, and settings of the layout.
      path: folder or archive; of a pattern of spans the newest is taken.
      split: 'train', 'eval', 'test' or 'all'; None for 'test' where the data have it, else
        'all'.
      by_number: see `classes.numbers`.
      skips_unknown: leave out images of classes that the model does not know.
      watch: takes the images and yields them again, to show progress.

    Raises:
      ConfigError: the data have no such split, or their layout is unclear.
      DataError: there are no images, or they have classes that the model does not know.
    """
    plan = layouts.plan(data.find(path), answers.of(config))
    counts = labelled_images.count(plan)
    split, notes = _chosen_split(counts, split)
    images = sum((counts[name] for name in counts if split in (ALL, name)), Counter())
    numbers = classes.numbers(images, model.labels, by_number=by_number)
    skipped = {name: images[name] for name in sorted(images) if name not in numbers}
    if skipped and not skips_unknown:
        raise DataError(
            f"the model does not know {_counted(skipped)} of the data",
            found=class_names.listed(list(skipped)),
            expected=f"classes of the model: {class_names.listed(model.labels)}",
            tip="--skip-unknown leaves their images out",
        )
    unreadable: dict[str, str] = {}
    found = labelled_images.from_plan(plan, None if split == ALL else split)
    tables = list(_answers(model, watch(found), numbers, unreadable))
    if not tables:
        first = [f"{key}: {why}" for key, why in list(unreadable.items())[:3]]
        raise DataError(f"no image in {path} can be read", found="; ".join(first))
    measured = figures.of_table(pa.concat_tables(tables).to_pandas(), model.labels)
    missing = tuple(
        label for label in model.labels if not measured.per_class[label]["support"]
    )
    return Evaluation(
        model=str(model.folder),
        data=os.fspath(path),
        splits={name: sum(of_split.values()) for name, of_split in counts.items()},
        split=split,
        figures=measured,
        skipped=skipped,
        missing=missing,
        unreadable=tuple(sorted(unreadable.items())),
        notes=(*notes, *_class_notes(numbers, model.labels, skipped, missing)),
    )


def _chosen_split(
    counts: Mapping[str, Any], wanted: str | None
) -> tuple[str, tuple[str, ...]]:
    """The split to measure, and notes on the choice."""
    if not counts:
        return ALL, ()
    if wanted not in (None, ALL, *counts):
        raise ConfigError(
            f"the data have no split '{wanted}'",
            found=class_names.listed(sorted(counts))
            if set(counts) != {ALL}
            else "no splits",
            tip="--split all measures every image",
        )
    if wanted:
        return wanted, ()
    if features.TEST in counts:
        return features.TEST, ()
    return ALL, (
        "the data have no test split: every image was measured. If the model was trained"
        " on some of them, it looks better than it is.",
    )


def _class_notes(
    numbers: Mapping[str, int],
    labels: tuple[str, ...],
    skipped: Mapping[str, int],
    missing: tuple[str, ...],
) -> Iterator[str]:
    renamed = [
        f"{name} is {labels[number]}"
        for name, number in numbers.items()
        if name != labels[number]
    ]
    if renamed:
        yield f"classes were matched by number: {class_names.listed(renamed)}."
    if skipped:
        yield (
            f"left out {sum(skipped.values()):,} images of {_counted(skipped)} that the"
            f" model does not know: {class_names.listed(list(skipped))}."
        )
    if missing:
        yield (
            f"{_counted(missing)} of the model without an image here:"
            f" {class_names.listed(missing)}."
        )


def _counted(names: Collection[str]) -> str:
    return f"{len(names):,} {'class' if len(names) == 1 else 'classes'}"


def _answers(
    model: "LocalModel",
    images: "Images",
    numbers: Mapping[str, int],
    unreadable: dict[str, str],
) -> Iterator[pa.Table]:
    """A table for each batch of images of known classes; fills `unreadable`."""
    batch: list[tuple[bytes, bytes, int]] = []
    for image in images:
        if isinstance(image, records.Unreadable):
            unreadable[image.key] = image.reason
            continue
        if image.text not in numbers:
            continue
        try:
            encoded = encoding.encode(image.encoded, image.key)
        except DataError as error:
            _, _, reason = error.message.partition(f"{image.key}: ")
            unreadable[image.key] = reason or error.message
            continue
        batch.append((image.key.encode(), encoded, numbers[image.text]))
        if len(batch) == local_model.BATCH_SIZE:
            yield _asked(model, batch)
            batch = []
    if batch:
        yield _asked(model, batch)


def _asked(model: "LocalModel", batch: list[tuple[bytes, bytes, int]]) -> pa.Table:
    keys, images, labels = zip(*batch, strict=True)
    table = predictions.of_batch(
        keys,
        np.array(labels),
        {"": model.probabilities(list(images))},
        {},
        predictions.schema([], has_baseline=False),
    )
    return table.drop([predictions.PROBABILITIES])


def model_folder(
    root: pathlib.Path, wanted: str | os.PathLike[str] | None
) -> pathlib.Path:
    """The SavedModel at `wanted`.

    Args:
      root: folder of the runs.
      wanted: what `local_model.find_model` takes, or a run as `pipeline.runs.runs.find`
        takes it, or its folder.

    Raises:
      ConfigError: there is no such model, or the run has none.
    """
    from pipeline.runs import runs

    if wanted is None:
        return local_model.find_model(root)
    if runs.is_run(pathlib.Path(wanted)):
        return runs.model_folder(pathlib.Path(wanted))
    try:
        return local_model.find_model(root, os.fspath(wanted))
    except ConfigError as error:
        try:
            folder = runs.find(root, os.fspath(wanted))
        except ConfigError:
            raise error from None
    return runs.model_folder(folder)

"""Finished runs side by side: settings that differ, figures, and whether a gap is real."""

import pathlib
from collections.abc import Sequence
from typing import Any

import pandas as pd

from common.errors import ConfigError
from components.model_evaluator import intervals, predictions
from pipeline.runs import runs
from report import run_settings
from report.comparing import Comparison, Difference, Run

_MISSING = "-"
_FEWEST = 2


def compare(root: pathlib.Path, wanted: Sequence[str | pathlib.Path]) -> Comparison:
    """Compares finished runs; the first is the reference.

    Args:
      root: folder of the runs.
      wanted: two or more: names, as `runs.find` takes them, or folders.

    Raises:
      ConfigError: fewer than two, or one is unknown, not finished, or given twice.
    """
    if len(wanted) < _FEWEST:
        raise ConfigError(
            "nothing to compare",
            found=f"{len(wanted)} run{'' if len(wanted) == 1 else 's'}",
            expected="two or more",
            tip="slimline runs lists them",
        )
    compared = [_read(runs.find(root, each)) for each in wanted]
    names = [run.name for run in compared]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ConfigError(
            f"run '{twice[0]}' is given twice", expected="different runs to compare"
        )
    first, *others = compared
    return Comparison(
        tuple(compared),
        _settings_that_differ(compared),
        tuple(_difference(other, first) for other in others),
    )


def _read(folder: pathlib.Path) -> Run:
    summary = runs.read_summary(folder)
    name = runs.two_words(folder)
    if folder.parent.name == runs.MEMBERS_FOLDER:
        name = f"{runs.two_words(folder.parent.parent)}/{folder.name}"
    return Run(name, folder, summary, run_settings.values(folder))


def _settings_that_differ(compared: Sequence[Run]) -> dict[str, list[Any]]:
    keys = sorted({key for run in compared for key in run.settings})
    rows = {key: [run.settings.get(key, _MISSING) for run in compared] for key in keys}
    return {
        key: values
        for key, values in rows.items()
        if any(value != values[0] for value in values)
    }


def _difference(run: Run, first: Run) -> Difference:
    tables, class_lists = [], []
    for each in (run, first):
        table = _predictions(each)
        if isinstance(table, str):
            return Difference(run.name, first.name, table)
        class_lists.append(list(each.summary["per_class"]))
        # Class names for label numbers, which mean another class in another run.
        names = dict(enumerate(class_lists[-1]))
        columns = (predictions.LABEL, predictions.PREDICTED)
        tables.append(
            table.assign(**{name: table[name].map(names) for name in columns})
        )
    shared = set.intersection(*map(set, class_lists))
    if not shared:
        return Difference(run.name, first.name, "no class in common to compare")
    table, other = (
        table[table[predictions.LABEL].isin(shared)].reset_index(drop=True)
        for table in tables
    )
    images = [predictions.KEY, predictions.LABEL]
    if not table[images].equals(other[images]):
        return Difference(
            run.name,
            first.name,
            "not tested on the same images, so the figures cannot be compared",
        )
    is_same = all(set(class_list) == shared for class_list in class_lists)
    of_shared = "" if is_same else f" of the {len(shared)} classes that both know"
    return _paired(run.name, first.name, table, other, of_shared)


def _paired(
    name: str,
    against: str,
    table: pd.DataFrame,
    other: pd.DataFrame,
    of_shared: str,
) -> Difference:
    if table.empty:
        return Difference(name, against, f"no test image{of_shared}")
    hits, other_hits = predictions.hits(table), predictions.hits(other)
    low, high = intervals.of_paired_shares(hits, other_hits)
    value = float(hits.mean() - other_hits.mean())
    p_value = intervals.mcnemar(hits, other_hits)
    is_real = low > 0 or high < 0
    if is_real:
        words = f"{'better' if value > 0 else 'worse'} than {against}"
    elif table[predictions.PREDICTED].equals(other[predictions.PREDICTED]):
        words = "no difference beyond noise: every image gets the same class"
    else:
        words = "no difference beyond noise"
    sentence = (
        f"{words}: top-1 {value:+.4f}, 95 % interval [{low:+.4f}, {high:+.4f}] on"
        f" {len(hits):,} images{of_shared}, McNemar p {p_value:.2g}"
    )
    return Difference(
        name, against, sentence, is_real, len(hits), value, low, high, p_value
    )


def _predictions(run: Run) -> pd.DataFrame | str:
    """The table of predictions, or a sentence that says what is missing."""
    (uri,) = run.summary["artifacts"]["evaluate"]["evaluation"]
    try:
        return predictions.read(uri)
    except FileNotFoundError:
        return f"the predictions of {run.name} are gone ({uri}), no test of the gap"

"""Finished runs side by side: settings that differ, figures, and whether a gap is real."""

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from common.errors import ConfigError
from components.model_evaluator import intervals, predictions
from pipeline.runs import runs
from report import comparing, run_settings

_MISSING = "-"
_FEWEST = 2


@dataclasses.dataclass(frozen=True)
class Contender:
    """One of the runs compared.

    Attributes:
      name: the two words of a run, or 'words/member'.
      folder: of the run.
      summary: as `pipeline.runs.summary.Summary`, as JSON gives it.
      settings: dotted key -> value.
    """

    name: str
    folder: pathlib.Path
    summary: dict[str, Any]
    settings: dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Difference:
    """How a run differs from the first, on the same test images.

    Attributes:
      name: of the run.
      against: name of the first.
      images: compared.
      value: top-1 of the run less that of the first; low, high: 95 % interval, paired.
      p_value: McNemar's exact test of equal top-1.
      sentence: the same in words; where nothing could be compared, why.
      is_real: whether the interval leaves 0 out.
    """

    name: str
    against: str
    sentence: str
    is_real: bool = False
    images: int = 0
    value: float | None = None
    low: float | None = None
    high: float | None = None
    p_value: float | None = None


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Finished runs side by side.

    Attributes:
      contenders: the runs; the others are held against the first.
      settings: dotted key -> value of each run, for those that are not all the same.
      differences: of each run but the first to the first.
    """

    contenders: tuple[Contender, ...]
    settings: dict[str, list[Any]]
    differences: tuple[Difference, ...]

    def to_frame(self) -> pd.DataFrame:
        """A row a run: its metrics, and the settings that differ."""
        rows = {
            contender.name: contender.summary["metrics"]
            | {key: values[place] for key, values in self.settings.items()}
            for place, contender in enumerate(self.contenders)
        }
        return pd.DataFrame.from_dict(rows, orient="index")

    def __repr__(self) -> str:
        sentences = [f"{each.name}: {each.sentence}" for each in self.differences]
        names = ", ".join(contender.name for contender in self.contenders)
        return "\n".join([f"<Comparison of {names}>", *sentences])

    def _repr_html_(self) -> str:
        """What a notebook shows: the page's differences, figures, settings and curves."""
        return comparing.to_card(*self.for_a_page())

    def for_a_page(
        self,
    ) -> tuple[list[comparing.Run], dict[str, list[Any]], list[dict[str, Any]]]:
        """Runs, settings and differences as `report.comparing` takes them."""
        runs_of_page = [
            comparing.Run(contender.name, contender.folder, contender.summary)
            for contender in self.contenders
        ]
        differences = [dataclasses.asdict(each) for each in self.differences]
        return runs_of_page, self.settings, differences


def compare(root: pathlib.Path, wanted: Sequence[str | pathlib.Path]) -> Comparison:
    """Compares the runs that `wanted` means.

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
    contenders = _load(root, wanted)
    first, *others = contenders
    return Comparison(
        tuple(contenders),
        _settings_that_differ(contenders),
        tuple(_difference(other, first) for other in others),
    )


def _load(root: pathlib.Path, wanted: Sequence[str | pathlib.Path]) -> list[Contender]:
    contenders = [_contender(runs.find(root, each)) for each in wanted]
    names = [contender.name for contender in contenders]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ConfigError(
            f"run '{twice[0]}' is given twice", expected="different runs to compare"
        )
    return contenders


def _settings_that_differ(contenders: Sequence[Contender]) -> dict[str, list[Any]]:
    keys = sorted({key for contender in contenders for key in contender.settings})
    rows = {
        key: [contender.settings.get(key, _MISSING) for contender in contenders]
        for key in keys
    }
    return {
        key: values
        for key, values in rows.items()
        if any(value != values[0] for value in values)
    }


def _contender(folder: pathlib.Path) -> Contender:
    summary = runs.read_summary(folder)
    name = runs.two_words(folder)
    if folder.parent.name == runs.MEMBERS_FOLDER:
        name = f"{runs.two_words(folder.parent.parent)}/{folder.name}"
    settings = {each.key: each.value for each in run_settings.read(folder)}
    return Contender(name, folder, summary, settings)


def _difference(run: Contender, first: Contender) -> Difference:
    tables, class_lists = [], []
    for contender in (run, first):
        table = _predictions(contender)
        if isinstance(table, str):
            return Difference(run.name, first.name, table)
        class_lists.append(list(contender.summary["per_class"]))
        tables.append(_with_names(table, class_lists[-1]))
    shared = set.intersection(*map(set, class_lists))
    if not shared:
        return Difference(run.name, first.name, "no class in common to compare")
    table, other = (
        table[table[predictions.LABEL].isin(shared)].reset_index(drop=True)
        for table in tables
    )
    columns = [predictions.KEY, predictions.LABEL]
    if not table[columns].equals(other[columns]):
        return Difference(
            run.name,
            first.name,
            "not tested on the same images, so the gap between the figures says little",
        )
    of_shared = (
        ""
        if all(set(class_list) == shared for class_list in class_lists)
        else f" of the {len(shared)} classes that both know"
    )
    return _paired(run.name, first.name, table, other, of_shared)


def _with_names(table: pd.DataFrame, class_list: Sequence[str]) -> pd.DataFrame:
    """Predictions with class names for label numbers, which each run has its own of."""
    names = dict(enumerate(class_list))
    columns = (predictions.LABEL, predictions.PREDICTED)
    return table.assign(**{column: table[column].map(names) for column in columns})


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
    figures = (
        f"top-1 {value:+.4f}, 95 % interval [{low:+.4f}, {high:+.4f}] on"
        f" {len(hits):,} images{of_shared}, McNemar p {p_value:.2g}"
    )
    if is_real:
        words = f"{'better' if value > 0 else 'worse'} than {against}"
    elif table[predictions.PREDICTED].equals(other[predictions.PREDICTED]):
        words = "no difference beyond noise: every image gets the same class"
    else:
        words = "no difference beyond noise"
    return Difference(
        name=name,
        against=against,
        sentence=f"{words}: {figures}",
        is_real=is_real,
        images=len(hits),
        value=value,
        low=low,
        high=high,
        p_value=p_value,
    )


def _predictions(contender: Contender) -> pd.DataFrame | str:
    """The table of predictions, or a sentence that says what is missing."""
    uris: Mapping[str, Any] = contender.summary["artifacts"]["evaluate"]
    (uri,) = uris["evaluation"]
    try:
        return predictions.read(uri)
    except FileNotFoundError:
        return (
            f"the predictions of {contender.name} are gone ({uri}), no test of the gap"
        )

"""Finished runs side by side: what a comparison holds, and its page."""

import dataclasses
import pathlib
from collections.abc import Mapping
from typing import Any

import pandas as pd

from report import curves, drawing, page, wording
from storage import durable

PAGE = "comparison.html.jinja"
DIFFERENCE = "difference.html.jinja"


@dataclasses.dataclass(frozen=True)
class Run:
    """One of the runs compared.

    Attributes:
      name: its two words, or 'words/member'.
      folder: with the tables of its training.
      summary: as `summary.json` holds it.
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
      sentence: the result in words; or why the two cannot be compared.
      is_real: whether the interval excludes 0.
      images: compared.
      value: top-1 of the run less that of the first; low, high: 95 % interval, paired.
        None where the two cannot be compared.
      p_value: McNemar's exact test of equal top-1.
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
      contenders: the runs; the first is the reference.
      settings: dotted key -> value of each run, of settings that are not all the same.
      differences: of each run but the first to the first.
    """

    contenders: tuple[Run, ...]
    settings: dict[str, list[Any]]
    differences: tuple[Difference, ...]

    def to_frame(self) -> pd.DataFrame:
        """A row a run: its metrics, and the settings that differ."""
        rows = {
            run.name: run.summary["metrics"]
            | {key: values[place] for key, values in self.settings.items()}
            for place, run in enumerate(self.contenders)
        }
        return pd.DataFrame.from_dict(rows, orient="index")

    def __repr__(self) -> str:
        sentences = [f"{each.name}: {each.sentence}" for each in self.differences]
        names = ", ".join(run.name for run in self.contenders)
        return "\n".join([f"<Comparison of {names}>", *sentences])

    def _repr_html_(self) -> str:
        """What a notebook shows: the page's differences, figures, settings and curves."""
        # Cards of runs read Examples with TensorFlow; the page does without it.
        from report import card

        return card.render(DIFFERENCE, **_context(self))


def build(path: pathlib.Path, comparison: Comparison) -> None:
    """Writes the page of a comparison.

    Raises:
      OSError: the page cannot be written.
    """
    durable.write_text(path, page.render(PAGE, **_context(comparison)))


def _context(comparison: Comparison) -> dict[str, Any]:
    runs = comparison.contenders
    return {
        "names": [run.name for run in runs],
        "summaries": [run.summary for run in runs],
        "rows": _metrics([run.summary for run in runs]),
        "settings": comparison.settings,
        "differences": comparison.differences,
        "panels": [
            (panel.title, drawing.curves(panel))
            for panel in curves.of_runs({run.name: run.folder for run in runs})
            if panel.drawn
        ],
    }


def _metrics(summaries: list[Mapping[str, Any]]) -> list[tuple[str, list[Any]]]:
    """Metric -> value and interval of each run."""
    names = {name for summary in summaries for name in summary["metrics"]}
    return [
        (
            wording.metric(name),
            [
                (summary["metrics"].get(name), summary.get("intervals", {}).get(name))
                for summary in summaries
            ],
        )
        for name in sorted(names - {"example_count"}, key=wording.metric_place)
    ]

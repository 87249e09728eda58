"""The page that holds finished runs against each other."""

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import markupsafe

from report import curves, drawing, page, wording
from storage import durable

PAGE = "comparison.html.jinja"
DIFFERENCE = "difference.html.jinja"


@dataclasses.dataclass(frozen=True)
class Run:
    """One of the runs.

    Attributes:
      name: as it is called.
      folder: with the tables of its training.
      summary: as `summary.json` holds it.
    """

    name: str
    folder: pathlib.Path
    summary: Mapping[str, Any]


def build(
    path: pathlib.Path,
    runs: Sequence[Run],
    settings: Mapping[str, Sequence[Any]],
    differences: Sequence[Mapping[str, Any]],
) -> pathlib.Path:
    """Writes the page; returns its file.

    Args:
      path: of the page.
      runs: two or more; the others are held against the first.
      settings: dotted key -> value of each run.
      differences: of each run but the first: `name`, `sentence`, `is_real`, and `value`,
        `low`, `high`, `p_value`, `images`, None or 0 where nothing could be compared.

    Raises:
      OSError: the page cannot be written.
    """
    style = (page.TEMPLATES / page.STYLE).read_text(encoding="utf-8")
    text = (
        page.environment()
        .get_template(PAGE)
        .render(
            style=markupsafe.Markup(style),
            policy=page.policy(style),
            **_context(runs, settings, differences),
        )
    )
    durable.write_text(path, text)
    return path


def to_card(
    runs: Sequence[Run],
    settings: Mapping[str, Sequence[Any]],
    differences: Sequence[Mapping[str, Any]],
) -> str:
    """The same for a cell of a notebook, as HTML; the arguments are those of `build`."""
    # Cards of runs read Examples with TensorFlow, which the command has no need of.
    from report import card

    return card.render(DIFFERENCE, **_context(runs, settings, differences))


def _context(
    runs: Sequence[Run],
    settings: Mapping[str, Sequence[Any]],
    differences: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    return {
        "names": [run.name for run in runs],
        "summaries": [run.summary for run in runs],
        "rows": _metrics(runs),
        "settings": settings,
        "differences": [_difference(each) for each in differences],
        "panels": [
            (panel.title, drawing.curves(panel))
            for panel in curves.of_runs({run.name: run.folder for run in runs})
            if panel.drawn
        ],
    }


def _metrics(runs: Sequence[Run]) -> list[tuple[str, list[Any]]]:
    """Metric -> value and interval of each run."""
    names = {name for run in runs for name in run.summary["metrics"]}
    names.discard("example_count")
    return [
        (
            wording.metric(name),
            [
                (
                    run.summary["metrics"].get(name),
                    run.summary.get("intervals", {}).get(name),
                )
                for run in runs
            ],
        )
        for name in sorted(names, key=wording.metric_place)
    ]


def _difference(difference: Mapping[str, Any]) -> dict[str, Any]:
    if difference["value"] is None:
        return dict(difference, drawing="")
    low, high = difference["low"], difference["high"]
    return dict(
        difference,
        drawing=drawing.interval(
            low, difference["value"], high, max(abs(low), abs(high))
        ),
    )

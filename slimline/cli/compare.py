"""slimline compare: finished runs side by side."""

import dataclasses
import functools
import pathlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import click

from pipeline import settings
from slimline.terminal import closing, options, output

if TYPE_CHECKING:
    from report.comparing import Run


@click.command(short_help="Compare finished runs.")
@click.argument(
    "run_names", metavar="RUN RUN...", nargs=-1, shell_complete=options.complete_runs
)
@options.file_option("compare.html", "Page, one HTML file that works offline,")
@options.root_option
@options.output_options
def command(
    run_names: tuple[str, ...], path: pathlib.Path, root: pathlib.Path
) -> output.Result:
    """Compare finished runs: settings, figures, and whether the gap is more than noise.

    The first RUN is compared with each of the others, on the same test images. The page
    also shows the overlaid curves of all runs.
    """
    from pipeline.runs import comparison as run_comparison
    from report import comparing

    comparison = run_comparison.compare(root, run_names)
    contenders, changed = comparison.contenders, comparison.settings
    with output.writing(path):
        comparing.build(path, comparison)
    document = {
        "runs": [
            {
                "name": contender.name,
                "metrics": contender.summary["metrics"],
                "intervals": contender.summary.get("intervals", {}),
                "passed": contender.summary["passed"],
            }
            for contender in contenders
        ],
        "settings": changed,
        "differences": [dataclasses.asdict(each) for each in comparison.differences],
        "page": str(path),
    }
    lines = [_table(contenders, changed), ""]
    lines += [f"{each.name}: {each.sentence}" for each in comparison.differences]
    lines.append(f"page: {output.short_path(str(path))}")
    return output.Result("\n".join(lines), document)


def _table(contenders: "Sequence[Run]", changed: dict[str, list[Any]]) -> str:
    summaries = [contender.summary for contender in contenders]

    def row(title: str, cell: Callable[[dict[str, Any]], str]) -> list[str]:
        return [title, *map(cell, summaries)]

    rows = [
        ["", *(contender.name for contender in contenders)],
        row("experiment", lambda summary: summary["experiment"]),
        row("verdict", lambda summary: "passed" if summary["passed"] else "refused"),
        row("eval top-1", lambda summary: f"{summary['eval_top_1']:.4f}"),
    ]
    for name in dict.fromkeys(name for each in summaries for name in each["metrics"]):
        title = "images" if name == "example_count" else name.replace("_", "-")
        rows.append(row(f"test {title}", functools.partial(_metric, name)))
    rows.append(
        row("training", lambda summary: output.duration(summary["training_seconds"]))
    )
    rows += [[key, *map(settings.show, values)] for key, values in changed.items()]
    return output.columns(rows)


def _metric(name: str, summary: dict[str, Any]) -> str:
    if name not in summary["metrics"]:
        return ""
    if name == "example_count":
        return f"{summary['metrics'][name]:,.0f}"
    return closing.with_margin(name, summary["metrics"], summary.get("intervals"))

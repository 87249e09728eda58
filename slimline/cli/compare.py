"""slimline compare: finished runs side by side."""

import dataclasses
import pathlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from pipeline import settings
from slimline.terminal import closing, options, output

if TYPE_CHECKING:
    from report.comparing import Run


@click.command(short_help="Compare finished runs.")
@click.argument(
    "run_names",
    metavar="RUN RUN...",
    nargs=-1,
    shell_complete=options.complete_runs,
)
@click.option(
    "--output",
    "path",
    type=click.Path(dir_okay=False, path_type=pathlib.Path),
    default="compare.html",
    show_default=True,
    help="Page to write, one HTML file that works offline.",
)
@options.root_option
@options.output_options
def command(
    run_names: tuple[str, ...],
    path: pathlib.Path,
    root: pathlib.Path,
) -> output.Result:
    """Compare finished runs: settings, figures, and whether the gap is more than noise.

    The first RUN is the one that the others are held against, on the same test images.
    The page has the curves of all over each other, too.
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
    sentences = [
        f"{difference.name}: {difference.sentence}"
        for difference in comparison.differences
    ]
    text = "\n".join(
        [
            _table(contenders, changed),
            "",
            *sentences,
            f"page: {output.short_path(str(path))}",
        ]
    )
    return output.Result(text, document)


def _table(contenders: "Sequence[Run]", changed: dict[str, list[Any]]) -> str:
    def row(title: str, make: Any) -> list[str]:
        return [title, *(make(contender.summary) for contender in contenders)]

    rows = [
        ["", *(contender.name for contender in contenders)],
        row("experiment", lambda summary: summary["experiment"]),
        row("verdict", lambda summary: "passed" if summary["passed"] else "refused"),
        row("eval top-1", lambda summary: f"{summary['eval_top_1']:.4f}"),
    ]
    names = dict.fromkeys(
        name for contender in contenders for name in contender.summary["metrics"]
    )
    rows += [
        [
            "test images"
            if name == "example_count"
            else f"test {name.replace('_', '-')}",
            *(_metric(contender.summary, name) for contender in contenders),
        ]
        for name in names
    ]
    rows.append(
        row("training", lambda summary: output.duration(summary["training_seconds"]))
    )
    rows += [
        [key, *(settings.show(value) for value in values)]
        for key, values in changed.items()
    ]
    return output.columns(rows)


def _metric(summary: dict[str, Any], name: str) -> str:
    if name not in summary["metrics"]:
        return ""
    if name == "example_count":
        return f"{summary['metrics'][name]:,.0f}"
    return closing.with_margin(name, summary["metrics"], summary.get("intervals"))

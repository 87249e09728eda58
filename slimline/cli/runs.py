"""slimline runs: all runs under the root, with their verdicts."""

import pathlib
from typing import Any

import click

from slimline import tables
from slimline.terminal import options, output

# Key of a row -> heading of its column.
_HEADINGS = {
    "run": "run",
    "experiment": "experiment",
    "verdict": "verdict",
    "test_top_1": "test top-1",
    "eval_top_1": "eval top-1",
    "seconds": "time",
    "version": "version",
}
_NUMBERS = ("test top-1", "eval top-1", "time")


@click.command(short_help="List the runs with their verdicts.")
@options.root_option
@options.output_options
def command(root: pathlib.Path) -> output.Result:
    """List the runs under --root, the newest last, with verdicts and figures."""
    rows = tables.of_runs(root)
    if not rows:
        text = f"no runs in {output.short_place(str(root))}: slimline run makes one"
    else:
        cells = [[_cell(name, row.get(name)) for name in _HEADINGS] for row in rows]
        text = output.columns([list(_HEADINGS.values()), *cells], numbers=_NUMBERS)
    return output.Result(text, {"runs": rows})


def _cell(name: str, value: Any) -> str:
    if value is None:
        return ""
    if name == "seconds":
        return output.duration(value)
    return f"{value:.4f}" if isinstance(value, float) else str(value)

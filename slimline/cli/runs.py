"""slimline runs: all runs under the root, with what came of them."""

import pathlib
from typing import Any

import click

from pipeline import parts, runs
from slimline import errors
from slimline.cli import options, output

# Of a row -> heading of its column.
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
def command(root: pathlib.Path, is_json: bool, is_quiet: bool) -> int:
    """List the runs under --root, the newest last, with verdicts and figures."""
    rows = [_row(folder) for folder in runs.list_runs(root)]
    if not rows:
        text = f"no runs in {root}: slimline run makes one"
    else:
        cells = [[_cell(name, row.get(name)) for name in _HEADINGS] for row in rows]
        text = output.columns([list(_HEADINGS.values()), *cells], numbers=_NUMBERS)
    output.emit(text, {"runs": rows}, is_json=is_json, is_quiet=is_quiet)
    return errors.DONE


def _row(folder: pathlib.Path) -> dict[str, Any]:
    row: dict[str, Any] = {"run": folder.name, "experiment": None}
    if (folder / runs.MEMBERS_FOLDER).is_dir():
        members = sorted(path.name for path in (folder / runs.MEMBERS_FOLDER).iterdir())
        return row | {"verdict": f"sweep of {len(members)}", "members": members}
    if part := parts.read(folder):
        return row | {
            "experiment": part.experiment,
            "verdict": part.part,
            "seconds": part.total_seconds,
        }
    try:
        summary = runs.read_summary(folder)
    except errors.ConfigError:
        return row | {"verdict": "not finished"}
    return row | {
        "experiment": summary["experiment"],
        "verdict": "passed" if summary["passed"] else "refused",
        "test_top_1": summary["metrics"]["top_1"],
        "eval_top_1": summary["eval_top_1"],
        "seconds": summary["total_seconds"],
        "version": summary["pushed_version"],
    }


def _cell(name: str, value: Any) -> str:
    if value is None:
        return ""
    if name == "seconds":
        return output.duration(value)
    return f"{value:.4f}" if isinstance(value, float) else str(value)

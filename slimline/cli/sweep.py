"""slimline sweep: experiments that differ in net or training, side by side."""

import dataclasses
import pathlib
from typing import TYPE_CHECKING, Any

import click

from common import run_files
from pipeline import inputs, settings
from pipeline.beam import engines
from pipeline.runs import runs
from pipeline.sweeps import comparison, registry
from slimline import errors
from slimline.terminal import display, options, output

if TYPE_CHECKING:
    from pipeline.sweeps.comparison import Row


@click.command(short_help="Train the members of a sweep and compare them.")
@click.argument("name", required=False, shell_complete=options.complete_sweeps)
@options.settings_options
@options.engine_options
@click.option(
    "--members",
    "chosen",
    metavar="NAME,NAME",
    default="",
    help="Take only these members.",
)
@options.root_option
@options.running_options
@options.output_options
def command(
    name: str | None,
    chosen: str,
    root: pathlib.Path,
    is_uncached: bool,
    is_dry: bool,
    is_verbose: bool,
    is_plain: bool,
    **given: Any,
) -> output.Result:
    """Train the members of the sweep NAME one after another; without NAME list the sweeps.

    Images are read and checked once. Table and curves are written after each member, and
    a sweep that was interrupted resumes with its current member when you rerun it.
    Nothing is pushed.
    """
    # `given`: data, assignments, config_file, engine, engine_options and is_tiny.
    if name is None:
        return _list()
    registry.find(name)
    resolved = settings.resolve(registry.experiment_of(name), **given)
    names = [word.strip() for word in chosen.split(",") if word.strip()]
    members = registry.configs(name, resolved.config, names)
    for config in members.values():
        inputs.check(config)
    engines.check(resolved.config.engine)
    if is_dry:
        return _plan(name, members, resolved)
    folder = runs.create(root, resolved.values(), resolved.origins)
    with display.running(folder, resolved, is_plain=is_plain, is_verbose=is_verbose):
        from pipeline.sweeps import execution  # loads TensorFlow

        rows = execution.run(
            members,
            root=root,
            run_folder=folder,
            origins=resolved.origins,
            use_cache=not is_uncached,
        )
    return _close(folder, rows)


def _list() -> output.Result:
    sweeps = registry.SWEEPS.items()
    found = [{"name": name, "members": members} for name, members in sweeps]
    rows = [{"sweep": name, "members": ", ".join(members)} for name, members in sweeps]
    return output.Result(output.table(rows), {"sweeps": found})


def _plan(name: str, members: Any, resolved: settings.Resolved) -> output.Result:
    rows = [
        {
            "member": member,
            "net": config.model.net,
            "batch norm": settings.show(config.model.batch_norm),
        }
        for member, config in members.items()
    ]
    changes = [f"changed  {change}" for change in resolved.changes()]
    text = "\n".join([output.table(rows), *changes, "", "nothing was run or written"])
    document = {
        "dry_run": True,
        "sweep": name,
        "members": {member: config.model.net for member, config in members.items()},
        "changes": resolved.changes(),
    }
    return output.Result(text, document)


def _close(folder: pathlib.Path, rows: "list[Row]") -> output.Result:
    headings = comparison.headings()
    table = output.columns(
        [headings, *map(comparison.cells, rows)], numbers=headings[2:-1]
    )
    files = {
        "table": folder / comparison.TABLE_FILE,
        "markdown": folder / comparison.MARKDOWN_FILE,
        "curves": folder / run_files.CURVES_FILE,
    }
    there = {key: str(path) for key, path in files.items() if path.exists()}
    lines = ["", table, ""]
    if best := comparison.best(rows):
        lines.append(f"best on eval: {best.member} ({best.eval_top_1:.4f})")
    if reached := comparison.race_of(folder, rows):
        lines.append(f"steps to {reached}")
    paths = {key: output.short_path(path) for key, path in there.items()}
    lines += output.facts(paths, 10, "  ")
    document = {
        "folder": str(folder),
        "rows": [dataclasses.asdict(row) for row in rows],
        "best": best.member if best else None,
        "steps_to_loss": dataclasses.asdict(reached) if reached else None,
        **there,
    }
    return output.Result("\n".join(lines), document, _failure(folder, rows))


def _failure(folder: pathlib.Path, rows: "list[Row]") -> errors.TrainError | None:
    """The error of a sweep with members that failed."""
    failed = [row for row in rows if row.note]
    if not failed:
        return None
    return errors.TrainError(
        f"{len(failed)} of {len(rows)} members failed:"
        f" {', '.join(row.member for row in failed)}",
        found="; ".join(dict.fromkeys(row.note for row in failed)),
        tip=f"{output.short_path(str(folder / runs.LOG_FILE))} has the stacks",
    )

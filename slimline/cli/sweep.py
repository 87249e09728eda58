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
from slimline import errors, session
from slimline.terminal import options, output, watching

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
    data: str | None,
    assignments: tuple[str, ...],
    config_file: pathlib.Path | None,
    engine: str | None,
    engine_options: tuple[str, ...],
    chosen: str,
    root: pathlib.Path,
    is_tiny: bool,
    is_uncached: bool,
    is_dry: bool,
    is_verbose: bool,
    is_plain: bool,
) -> output.Result:
    """Train the members of the sweep NAME one after another; without NAME list the sweeps.

    Images are read and checked once. Table and curves are written after each member, and
    a sweep that was interrupted resumes with its current member when you rerun it.
    Nothing is pushed.
    """
    if name is None:
        return _list()
    registry.find(name)
    resolved = settings.resolve(
        registry.experiment_of(name),
        config_file=config_file,
        assignments=assignments,
        data=data,
        engine=engine,
        engine_options=engine_options,
        is_tiny=is_tiny,
    )
    wanted = [word.strip() for word in chosen.split(",") if word.strip()]
    members = registry.configs(name, resolved.config, wanted)
    for config in members.values():
        inputs.check(config)
    engines.check(resolved.config.engine)
    if is_dry:
        return _plan(name, members, resolved)
    folder = runs.create(root, resolved.values(), resolved.origins)
    with watching.shown(
        folder,
        resolved,
        is_plain=is_plain or is_verbose,
        is_verbose=is_verbose,
    ) as listen:
        rows = session.execute_sweep(
            members,
            resolved,
            root,
            folder,
            listener=listen,
            logs_everything=True,
            use_cache=not is_uncached,
        )
    return _close(folder, rows)


def _list() -> output.Result:
    document = {
        "sweeps": [
            {
                "name": name,
                "members": {key: dict(value) for key, value in table.items()},
            }
            for name, table in registry.SWEEPS.items()
        ]
    }
    rows = [("sweep", "members")]
    rows += [(name, ", ".join(members)) for name, members in registry.SWEEPS.items()]
    return output.Result(output.columns(rows), document)


def _plan(
    name: str,
    members: Any,
    resolved: settings.Resolved,
) -> output.Result:
    rows = [("member", "net", "batch norm")]
    rows += [
        (member, config.model.net, settings.show(config.model.batch_norm))
        for member, config in members.items()
    ]
    changes = [f"changed  {change}" for change in resolved.changes()]
    text = "\n".join([output.columns(rows), *changes, "", "nothing was run or written"])
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
    best = comparison.best(rows)
    if best:
        lines.append(f"best on eval: {best.member} ({best.eval_top_1:.4f})")
    reached = comparison.race_of(folder, rows)
    if reached:
        lines.append(f"steps to {reached}")
    lines += [f"  {key:<9} {output.short_path(path)}" for key, path in there.items()]
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

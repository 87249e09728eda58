"""slimline run: one experiment from images to a pushed model."""

import dataclasses
import pathlib
from typing import TYPE_CHECKING, Any

import click

from pipeline import experiments, inputs, runs, settings
from slimline import capture, errors, session
from slimline.cli import closing, display, machine, options, output

if TYPE_CHECKING:
    from pipeline.summary import Summary


@click.command(short_help="Train, evaluate, gate and push one experiment.")
@click.argument(
    "experiment",
    default=experiments.DEFAULT,
    shell_complete=options.complete_experiments,
)
@click.option("--data", metavar="PATH", help="Folder or archive of the images.")
@click.option(
    "--set",
    "assignments",
    multiple=True,
    metavar="KEY=VALUE",
    shell_complete=options.complete_settings,
    help="Change a setting, as train.epochs=30; may be repeated, in any order.",
)
@click.option(
    "--config",
    "config_file",
    type=click.Path(exists=True, dir_okay=False, path_type=pathlib.Path),
    help="YAML file with settings.",
)
@options.root_option
@click.option(
    "--tiny",
    "is_tiny",
    is_flag=True,
    help="Two steps with few pixels, to try the chain.",
)
@click.option(
    "--no-cache", "is_uncached", is_flag=True, help="Run every component anew."
)
@click.option(
    "--dry-run", "is_dry", is_flag=True, help="Show what would run; write nothing."
)
@click.option(
    "--print-config",
    "prints_config",
    is_flag=True,
    help="Print every setting, its value and where it came from; run nothing.",
)
@click.option(
    "-v",
    "--verbose",
    "is_verbose",
    is_flag=True,
    help="Show the logs of the components as well; they are always in log.txt.",
)
@click.option(
    "--plain",
    "is_plain",
    is_flag=True,
    help="A time-stamped line an event, as without a terminal.",
)
@options.output_options
def command(
    experiment: str,
    data: str | None,
    assignments: tuple[str, ...],
    config_file: pathlib.Path | None,
    root: pathlib.Path,
    is_tiny: bool,
    is_uncached: bool,
    is_dry: bool,
    prints_config: bool,
    is_verbose: bool,
    is_plain: bool,
    is_json: bool,
    is_quiet: bool,
) -> int:
    """Train, evaluate, gate and push one EXPERIMENT.

    EXPERIMENT is one of `slimline experiments`. The default needs no data of yours. Values:
    default < experiment < --config < environment (SLIMLINE_TRAIN__EPOCHS=30) < --set.
    """
    resolved = settings.resolve(
        experiment,
        config_file=config_file,
        assignments=assignments,
        data=data,
        is_tiny=is_tiny,
    )
    if prints_config:
        _print_config(resolved, is_json, is_quiet)
        return errors.DONE
    inputs.check(resolved.config)
    if is_dry:
        _print_plan(resolved, root, is_json, is_quiet)
        return errors.DONE
    summary = _run(
        resolved,
        root,
        is_plain=is_plain or is_verbose,
        is_quiet=is_quiet,
        is_verbose=is_verbose,
        use_cache=not is_uncached,
    )
    return _close(summary, resolved, root, is_json, is_quiet)


def _run(
    resolved: settings.Resolved,
    root: pathlib.Path,
    *,
    is_plain: bool,
    is_quiet: bool,
    is_verbose: bool,
    use_cache: bool,
) -> "Summary":
    folder = runs.create(root, resolved.values(), resolved.origins)
    log = folder / runs.LOG_FILE
    under_way: list[str] = []
    try:
        with (
            capture.capture(log, is_echoed=is_verbose) as terminal,
            display.open_display(
                terminal.stderr, is_plain=is_plain, is_quiet=is_quiet
            ) as screen,
        ):
            screen.head(
                display.Heading(
                    versions=machine.describe(),
                    run=runs.two_words(folder),
                    folder=str(folder),
                    experiment=resolved.config.name,
                    changes=resolved.changes(),
                )
            )

            def listen(name: str, fields: Any) -> None:
                if name == "component_started":
                    under_way[:] = [fields["component"]]
                screen.event(name, fields)

            return session.execute(
                resolved,
                root,
                folder,
                listener=listen,
                logs_everything=True,
                use_cache=use_cache,
            )
    except errors.SlimlineError:
        raise
    except Exception as error:
        raise _broken_off(error, under_way, log) from error


def _broken_off(
    error: Exception, under_way: list[str], log: pathlib.Path
) -> errors.RunError:
    where = f" in {under_way[0]}" if under_way else ""
    first_line = (str(error).strip() or "no message").splitlines()[0]
    broken = errors.RunError(
        f"run failed{where}: {type(error).__name__}: {first_line[:300]}",
        found=f"the last lines of {log} are below",
        tip="--debug shows the stack; the log holds it too",
    )
    broken.log_lines = session.last_lines(log)
    return broken


def _close(
    summary: "Summary",
    resolved: settings.Resolved,
    root: pathlib.Path,
    is_json: bool,
    is_quiet: bool,
) -> int:
    refusal = (
        None if summary.passed else closing.refusal(summary, resolved.config.evaluation)
    )
    document: dict[str, Any] = {"summary": dataclasses.asdict(summary)}
    if refusal and is_json:
        document["error"] = output.error_document(refusal)
    text = closing.describe(summary, root)
    output.emit(text, document, is_json=is_json, is_quiet=is_quiet)
    if not refusal:
        return errors.DONE
    if not is_json:
        raise refusal
    output.show_error(refusal)
    return errors.GATE_REFUSED


def _print_config(resolved: settings.Resolved, is_json: bool, is_quiet: bool) -> None:
    values = resolved.values()
    rows = [("setting", "value", "from")]
    rows += [
        (key, settings.show(value), resolved.origins[key])
        for key, value in values.items()
    ]
    document = {
        "experiment": resolved.config.name,
        "settings": {
            key: {"value": value, "origin": resolved.origins[key]}
            for key, value in values.items()
        },
    }
    output.emit(output.columns(rows), document, is_json=is_json, is_quiet=is_quiet)


def _print_plan(
    resolved: settings.Resolved, root: pathlib.Path, is_json: bool, is_quiet: bool
) -> None:
    config = resolved.config
    rows = [
        ("experiment", config.name),
        ("data", config.data.path or "the experiment's own"),
        ("contract", config.data.contract or "schema/<name of the data>"),
        ("net", config.model.net),
        ("artifacts", str(root / config.name)),
        ("models", str(root / "serving")),
        *(("changed", change) for change in resolved.changes()),
    ]
    document = {
        "dry_run": True,
        "experiment": config.name,
        "data": config.data.path,
        "contract": config.data.contract,
        "net": config.model.net,
        "root": str(root),
        "changes": resolved.changes(),
    }
    text = output.columns(rows) + "\n\nnothing was run or written"
    output.emit(text, document, is_json=is_json, is_quiet=is_quiet)

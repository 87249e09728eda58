"""slimline run: one experiment from images to a pushed model."""

import dataclasses
import functools
import pathlib
import time
from typing import TYPE_CHECKING

import click

from pipeline import choosing, inputs, settings
from pipeline.beam import engines
from pipeline.runs import parts, pushed, runs
from slimline import capture, session
from slimline.terminal import closing, options, output, watching
from storage import remote

if TYPE_CHECKING:
    from pipeline.runs.summary import Summary


@click.command(short_help="Train, evaluate, gate and push one experiment.")
@click.argument(
    "experiment",
    required=False,
    metavar="[EXPERIMENT|DATA]",
    shell_complete=options.complete_experiments,
)
@options.settings_options
@options.engine_options
@click.option(
    "--from",
    "first",
    type=click.Choice(parts.COMPONENTS),
    help="Run only this component and everything downstream of it, reusing upstream outputs"
    " of the newest matching run.",
)
@click.option(
    "--to",
    "last",
    type=click.Choice(parts.COMPONENTS),
    help="Run only this component and everything upstream of it.",
)
@click.option(
    "--no-init",
    "is_uninitialised",
    is_flag=True,
    help="Fail if the data has no contract yet, instead of writing one.",
)
@click.option(
    "--force-push",
    "force_reason",
    metavar="REASON",
    help="Let a model replace a version that had to pass thresholds although its own gate"
    " is open; the history keeps the reason.",
)
@click.option(
    "--accept-classes",
    "accepts_classes",
    is_flag=True,
    help="Let the gate pass a model whose classes are not those of the live one"
    " (evaluation.class_changes=ask refuses it).",
)
@click.option(
    "--group",
    default="",
    envvar="SLIMLINE_GROUP",
    metavar="NAME",
    help="Label runs that belong together, as the tasks of one Airflow run: --from then"
    " takes earlier results of this group alone, and all of them read the same span.",
)
@options.root_option
@options.running_options
@click.option(
    "--print-config",
    "prints_config",
    is_flag=True,
    help="Print every setting, its value and where it came from; run nothing.",
)
@options.output_options
def command(
    experiment: str | None,
    data: str | None,
    assignments: tuple[str, ...],
    config_file: pathlib.Path | None,
    engine: str | None,
    engine_options: tuple[str, ...],
    first: str | None,
    last: str | None,
    is_uninitialised: bool,
    force_reason: str | None,
    accepts_classes: bool,
    group: str,
    root: pathlib.Path,
    is_tiny: bool,
    is_uncached: bool,
    is_dry: bool,
    prints_config: bool,
    is_verbose: bool,
    is_plain: bool,
) -> output.Result:
    """Train, evaluate, gate and push one EXPERIMENT.

    EXPERIMENT is one of `slimline experiments`. The default needs no data of yours; for
    DATA of yours it is `photos`. Values: default < experiment < --config < environment (SLIMLINE_TRAIN__EPOCHS=30) < --set.
    """
    if is_uninitialised:
        assignments = (*assignments, "data.init_contract=false")
    if force_reason is not None:
        if not force_reason.strip():
            raise click.UsageError("--force-push takes the reason, in words")
        assignments = (*assignments, f"serving.force_push={force_reason}")
    start = time.monotonic()
    if data and remote.is_uri(data):
        output.note(f"fetching what is new of {data} ...")
    with capture.discard():  # libraries speak while they load
        choice = choosing.choose(experiment, data)
    span = runs.span_of_group(root, group, choice.experiment) if group else None
    if span is not None:
        assignments = (*assignments, f"data.span={span}")
    resolved = settings.resolve(
        choice.experiment,
        config_file=config_file,
        assignments=assignments,
        data=choice.data,
        engine=engine,
        engine_options=engine_options,
        is_tiny=is_tiny,
    )
    if accepts_classes:
        resolved = settings.accepting_classes(resolved)
    part = parts.Part(first or "", last or "")
    if prints_config:
        return _settings(resolved)
    with capture.discard():
        inputs.look(resolved.config, root)
    if choice.reason and not output.is_quiet():
        click.echo(choice.reason, err=True)
    engines.check(resolved.config.engine)
    parts.check(part)
    if part.reaches("push"):
        pushed.check(resolved.config, root)
    if is_dry:
        return _plan(resolved, part, root)
    folder = runs.create(root, resolved.values(), resolved.origins, group=group)
    with watching.shown(
        folder,
        resolved,
        is_plain=is_plain or is_verbose,
        is_verbose=is_verbose,
    ) as listen:
        run = functools.partial(session.execute_part, part) if part else session.execute
        outcome = run(
            resolved,
            root,
            folder,
            listener=listen,
            logs_everything=True,
            use_cache=not is_uncached,
        )
    if isinstance(outcome, parts.Outcome):
        return _close_part(outcome)
    # What a person has waited: loading and the report, too.
    lived = max(outcome.total_seconds, time.monotonic() - start)
    outcome = dataclasses.replace(outcome, total_seconds=lived)
    return _close(outcome, root)


def _close(
    summary: "Summary",
    root: pathlib.Path,
) -> output.Result:
    refusal = None if summary.passed else closing.refusal(summary)
    return output.Result(
        closing.describe(summary, root),
        {"summary": dataclasses.asdict(summary)},
        refusal,
    )


def _close_part(outcome: parts.Outcome) -> output.Result:
    return output.Result(
        closing.describe_part(outcome), {"part": dataclasses.asdict(outcome)}
    )


def _settings(resolved: settings.Resolved) -> output.Result:
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
    return output.Result(output.columns(rows), document)


def _plan(
    resolved: settings.Resolved,
    part: parts.Part,
    root: pathlib.Path,
) -> output.Result:
    config = resolved.config
    identity = inputs.identity(config, inputs.expected_path(config, root))
    rows = [
        ("experiment", config.name),
        ("data", config.data.path or "the experiment's own"),
        ("contract", config.data.contract or "schema/<name of the data>"),
        ("net", config.model.net),
        ("artifacts", str(root / identity)),
        ("models", str(root / "serving")),
        ("engine", config.engine.name),
        *([("part", str(part))] if part else []),
        *(("changed", change) for change in resolved.changes()),
    ]
    document = {
        "dry_run": True,
        "experiment": config.name,
        "data": config.data.path,
        "contract": config.data.contract,
        "net": config.model.net,
        "root": str(root),
        "engine": config.engine.name,
        "part": str(part) if part else None,
        "changes": resolved.changes(),
    }
    text = output.columns(rows) + "\n\nnothing was run or written"
    return output.Result(text, document)

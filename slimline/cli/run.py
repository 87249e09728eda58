"""slimline run: one experiment from images to a pushed model."""

import dataclasses
import functools
import pathlib
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from pipeline import choosing, inputs, settings
from pipeline.beam import engines
from pipeline.runs import parts, pushed, runs
from slimline import capture
from slimline.terminal import closing, display, options, output
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
@options.flag(
    "--no-init",
    "is_uninitialised",
    help="Fail if the data has no contract yet, instead of writing one.",
)
@click.option(
    "--force-push",
    "force_reason",
    metavar="REASON",
    help="Let a model replace a version that had to pass thresholds although its own gate"
    " is open; the history keeps the reason.",
)
@options.flag(
    "--accept-classes",
    "accepts_classes",
    help="Let the gate pass a model whose classes are not those of the live one"
    " (evaluation.class_changes=ask refuses it).",
)
@click.option(
    "--group",
    default="",
    envvar="SLIMLINE_GROUP",
    metavar="NAME",
    help="Label runs that belong together, as the tasks of one Airflow run: --from then"
    " reuses outputs of this group only, and all of them read the same span.",
)
@options.root_option
@options.running_options
@options.flag(
    "--print-config",
    "prints_config",
    help="Print every setting, its value and where it came from; run nothing.",
)
@options.output_options
def command(
    experiment: str | None,
    data: str | None,
    assignments: tuple[str, ...],
    first: str | None,
    last: str | None,
    is_uninitialised: bool,
    force_reason: str | None,
    accepts_classes: bool,
    group: str,
    root: pathlib.Path,
    is_uncached: bool,
    is_dry: bool,
    prints_config: bool,
    is_verbose: bool,
    is_plain: bool,
    **given: Any,
) -> output.Result:
    """Train, evaluate, gate and push one EXPERIMENT.

    EXPERIMENT is one of `slimline experiments`. The default needs no data of yours; for
    DATA of yours it is `photos`. Values: default < experiment < --config < environment (SLIMLINE_TRAIN__EPOCHS=30) < --set.
    """
    # `given`: config_file, engine, engine_options and is_tiny, for `settings.resolve`.
    if is_uninitialised:
        assignments = (*assignments, "data.init_contract=false")
    if force_reason is not None:
        if not force_reason.strip():
            raise click.UsageError("--force-push takes the reason, in words")
        assignments = (*assignments, f"serving.force_push={force_reason}")
    start = time.monotonic()
    if data and remote.is_uri(data):
        output.note(f"fetching new files of {data} ...")
    with capture.discard():  # libraries print while they load
        choice = choosing.choose(experiment, data)
    span = runs.span_of_group(root, group, choice.experiment) if group else None
    if span is not None:
        assignments = (*assignments, f"data.span={span}")
    resolved = settings.resolve(
        choice.experiment, assignments=assignments, data=choice.data, **given
    )
    if accepts_classes:
        resolved = settings.accepting_classes(resolved)
    part = parts.Part(first or "", last or "")
    if prints_config:
        return _settings(resolved)
    with capture.discard():
        inputs.look(resolved.config, root)
    if choice.reason:
        output.note(choice.reason)
    engines.check(resolved.config.engine)
    parts.check(part)
    if part.reaches("push"):
        pushed.check(resolved.config, root)
    if is_dry:
        return _plan(resolved, part, root)
    folder = runs.create(root, resolved.values(), resolved.origins, group=group)
    with display.running(folder, resolved, is_plain=is_plain, is_verbose=is_verbose):
        from pipeline import execution  # loads TensorFlow

        run: Callable[..., Summary | parts.Outcome] = execution.run
        if part:
            run = functools.partial(execution.run_part, part=part)
        outcome = run(
            resolved.config,
            root=root,
            run_folder=folder,
            origins=resolved.origins,
            use_cache=not is_uncached,
        )
    if isinstance(outcome, parts.Outcome):
        text = closing.describe_part(outcome)
        return output.Result(text, {"part": dataclasses.asdict(outcome)})
    # The time that a person waited includes loading and the report.
    waited = max(outcome.total_seconds, time.monotonic() - start)
    summary = dataclasses.replace(outcome, total_seconds=waited)
    return output.Result(
        closing.describe(summary, root),
        {"summary": dataclasses.asdict(summary)},
        None if summary.passed else closing.refusal(summary),
    )


def _settings(resolved: settings.Resolved) -> output.Result:
    found = {
        key: {"value": value, "origin": resolved.origins[key]}
        for key, value in resolved.values().items()
    }
    rows = [
        {"setting": key, "value": settings.show(each["value"]), "from": each["origin"]}
        for key, each in found.items()
    ]
    document = {"experiment": resolved.config.name, "settings": found}
    return output.Result(output.table(rows), document)


def _plan(
    resolved: settings.Resolved, part: parts.Part, root: pathlib.Path
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

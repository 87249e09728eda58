"""slimline schedule: trains by a cron expression, or on every new span."""

import contextlib
import functools
import pathlib
import shlex
import sys
import types
from collections.abc import Callable, Collection
from typing import Any, NoReturn

import click

from components.image_example_gen import spans
from pipeline import inputs, settings
from pipeline.scheduling import controller, data, hooks
from pipeline.scheduling.command_runner import CommandRunner
from pipeline.scheduling.cron import Cron
from pipeline.slots import rows
from pipeline.slots.clock import Clock, in_words
from pipeline.slots.ledger import FILE, Ledger
from pushed_models import models_config, versions
from slimline import errors
from slimline.terminal import options, output, schedule_text

# The program, as this process was started; -P: no module of the working folder hides ours.
_COMMAND = (
    *(sys.executable, "-P", "-c"),
    "import sys; from slimline.cli.main import main; sys.exit(main())",
)
BY = "slimline.schedule"
_MINUTE_SECONDS = 60.0
# Longest time between two looks at the clock: it may be set, or the machine suspended.
_NAP_SECONDS = 30.0
# Columns of a slot that has not run.
_DUE = ("slot", "kind", "state", "reason", "data")
# Values of the options of `run` and `tick`, by name.
Given = types.SimpleNamespace

# What `run` and `tick` both take.
_options = options.together(
    click.argument("experiment", shell_complete=options.complete_experiments),
    click.option(
        "--cron",
        metavar="EXPRESSION",
        help="When to train: minute, hour, day, month, day of the week, as '0 3 * * *'.",
    ),
    options.shown(
        "--timezone", default="UTC", help="Zone of --cron, as Europe/Berlin."
    ),
    options.flag("--on-new-span", help="Train on every new span of --data PATTERN."),
    options.shown(
        "--missed",
        type=click.Choice([controller.SKIP, controller.ONCE, controller.ALL]),
        default=controller.ONCE,
        help="Which slots to run that did not start in time: none, the last, or all.",
    ),
    options.shown(
        "--grace",
        "grace_minutes",
        type=click.FloatRange(min=0),
        default=15.0,
        help="How many minutes late a slot may start.",
    ),
    options.shown(
        "--settle",
        "settle_seconds",
        type=click.FloatRange(min=0),
        default=60.0,
        help="Seconds without a write to a span before it is used.",
    ),
    options.settings_options,
    options.tiny_option,
    options.flag(
        "--warm-start",
        "is_warm",
        help="Start training from the live model, where there is one.",
    ),
    options.shown(
        "--keep-runs",
        type=click.IntRange(min=0),
        default=10,
        help="Scheduled runs to keep the artifacts of; 0 keeps all.",
    ),
    options.shown(
        "--keep-versions",
        type=click.IntRange(min=0),
        default=10,
        help="Versions of the model to keep, beside those served; 0 keeps all.",
    ),
    *(
        click.option(
            f"--on-{event}",
            multiple=True,
            metavar="COMMAND|URL",
            help=f"Notify that a run {words}: JSON to the command's standard input, or by"
            " POST; may be repeated.",
        )
        for event, words in hooks.EVENTS.items()
    ),
    options.root_option,
    options.output_options,
)


@click.group(short_help="Train on a schedule, or on every new span.")
def command() -> None:
    """Train on a schedule, or on every new span; show what was done and what is next."""


@command.command("run", short_help="Stay, and train when it is time.")
@options.shown(
    "--every",
    "every_minutes",
    type=click.FloatRange(min=0.1),
    default=5.0,
    help="Minutes between two looks for a new span.",
)
@_options
def run_command(every_minutes: float, **values: Any) -> NoReturn:
    """Stay, and train EXPERIMENT whenever it is time or a new span has come.

    Each run is a `slimline run` in a process of its own. After a stop or crash, rerun the
    same command: it resumes its slot.
    """
    given = Given(**values, is_forced=False, looks_back=False)
    _maker(given)
    clock = Clock()
    with contextlib.closing(Ledger(given.root / FILE)) as ledger:
        while True:
            try:
                # Each time, because the file of settings may have been edited.
                made = _maker(given)(ledger=ledger)
                look = made.tick()
                moment = made.next_look(look, every_minutes * _MINUTE_SECONDS)
            except (errors.ConfigError, errors.DataError) as error:
                look = controller.Look(waits_for=error.message)
                moment = clock.now() + controller.AGAIN
            now, following = in_words(clock.now()), in_words(moment)
            lines, document = schedule_text.look(look)
            lines = [f"{now} {line}" for line in [*lines, f"next look {following}"]]
            document |= {"time": now, "next": following}
            output.show(output.Result("\n".join(lines), document))
            while (left := (moment - clock.now()).total_seconds()) > 0:
                clock.sleep(min(left, _NAP_SECONDS))


@command.command("tick", short_help="Look once, and train what is due.")
@options.flag(
    "--force", "is_forced", help="Train now, also where nothing is due or has changed."
)
@options.flag("--dry-run", "is_dry", help="Show what is due; write nothing.")
@_options
def tick_command(is_dry: bool, **values: Any) -> output.Result:
    """Look once whether EXPERIMENT is due, and train it then.

    For a systemd timer, a line of cron, or a CronJob of Kubernetes. Exit code 75: another
    process works on the slot, or its data are still being written; try again.
    """
    given = Given(**values, looks_back=True)
    make = _maker(given)
    if is_dry:
        return _dry_run(given, make)
    with contextlib.closing(Ledger(given.root / FILE)) as ledger:
        look = make(ledger=ledger).tick()
    if look.fault is not None and not look.rows:
        raise look.fault
    lines, document = schedule_text.look(look)
    text = "\n".join(lines) or "nothing is due"
    code = errors.TEMPORARILY_FAILED if look.is_soon else errors.DONE
    for row in reversed(look.rows):
        if row.state in (rows.FAILED, rows.REFUSED):
            # The code of a run that a signal ended is negative.
            code = max(row.exit_code or 0, 0) or errors.RUN_FAILED
            break
    return output.Result(text, document, exit_code=code)


@command.command("history", short_help="List the slots with their results.")
@click.argument("experiment", required=False)
@options.shown(
    "--limit", type=click.IntRange(min=1), default=20, help="List the newest N slots."
)
@options.flag("--all", "lists_all", help="List all slots.")
@options.root_option
@options.output_options
def history_command(
    experiment: str | None, limit: int, lists_all: bool, root: pathlib.Path
) -> output.Result:
    """List the slots under --root, the newest last: time, data and result."""
    with contextlib.closing(Ledger(root / FILE, is_read_only=True)) as ledger:
        found = ledger.history(experiment, -1 if lists_all else limit)
    notices = schedule_text.notices(found)
    slots = list(map(schedule_text.as_document, found))
    text = schedule_text.history(found, notices)
    return output.Result(text, {"slots": slots, "notices": notices})


@command.command("status", short_help="Say what is running and what is next.")
@options.root_option
@options.output_options
def status_command(root: pathlib.Path) -> output.Result:
    """Say of each schedule under --root what is running, what was last and what is next."""
    with contextlib.closing(Ledger(root / FILE, is_read_only=True)) as ledger:
        states = schedule_text.states(ledger, Clock().now())
    return output.Result(schedule_text.status(states), {"schedules": states})


def _maker(given: Given) -> Callable[..., controller.Controller]:
    """Checks the options before anything is due; returns what makes a controller.

    Raises:
      ConfigError: a setting, a cron expression, a command or an address is wrong.
      DataError: there are no data at a path without a pattern.
    """
    if bool(given.cron) == given.on_new_span:
        raise click.UsageError("give --cron EXPRESSION or --on-new-span")
    resolved = settings.resolve(
        given.experiment,
        config_file=given.config_file,
        assignments=given.assignments,
        data=given.data,
        is_tiny=given.is_tiny,
    )
    config = resolved.config
    if config.data.span != spans.NEWEST:
        raise errors.ConfigError(
            "a schedule chooses the newest span itself",
            found=f"data.span={config.data.span} ({resolved.origins['data.span']})",
            tip="slimline run trains on a given one",
        )
    if given.is_warm and config.train.weights:
        raise errors.ConfigError(
            "--warm-start and the setting train.weights contradict each other",
            found=f"train.weights={config.train.weights}",
        )
    is_pattern = spans.is_pattern(config.data.path)
    if given.on_new_span and not is_pattern:
        raise errors.ConfigError(
            "--on-new-span needs a pattern of spans",
            found=config.data.path or "no --data",
            expected="--data with {SPAN}, or {YYYY}, {MM} and {DD}",
        )
    root = given.root.resolve()
    path = inputs.expected_path(config, root)
    if config.data.path:
        inputs.contract_for(config, path, root)
    # The first span may be yet to come.
    with contextlib.suppress(*([errors.DataError] if is_pattern else [])):
        inputs.check(config)
    targets = {event: getattr(given, f"on_{event}") for event in hooks.EVENTS}
    hooks.check(targets)
    identity = inputs.identity(config, path)
    model = root / versions.SERVING_FOLDER / inputs.model_name(config, path)
    return functools.partial(
        controller.Controller,
        pipeline=data.identity(config, path),
        settings_key=data.settings_key(config),
        runner=CommandRunner(
            _COMMAND, config.name, _run_arguments(given), root, identity
        ),
        newest=functools.partial(data.newest, config, root, given.settle_seconds),
        cron=Cron(given.cron, given.timezone) if given.cron else None,
        missed=given.missed,
        grace_seconds=given.grace_minutes * _MINUTE_SECONDS,
        is_forced=given.is_forced,
        looks_back=given.looks_back,
        starts_warm=lambda: given.is_warm and models_config.live(model) is not None,
        keep_runs=given.keep_runs,
        prune=functools.partial(
            _prune, root, identity, model.name, given.keep_versions
        ),
        targets=targets,
    )


def _run_arguments(given: Given) -> list[str]:
    """Options of `slimline run` that every run of the schedule gets."""
    pairs = [
        ("--data", given.data),
        ("--config", given.config_file),
        *(("--set", assignment) for assignment in given.assignments),
    ]
    words = [str(word) for pair in pairs if pair[1] is not None for word in pair]
    return [*words, *(["--tiny"] if given.is_tiny else [])]


def _prune(
    root: pathlib.Path,
    identity: str,
    model: str,
    keep_versions: int,
    old_runs: Collection[str],
) -> Collection[str]:
    """Deletes old versions, and then the artifacts of old runs."""
    # Only here: the metadata store takes a second to load.
    from pipeline.runs import retention
    from pushed_models import models

    if keep_versions and model in models.names(root):
        models.find(root, model).prune(keep_versions, by=BY)
    return retention.prune(root, identity, old_runs)


def _dry_run(given: Given, make: Callable[..., controller.Controller]) -> output.Result:
    """What a look would do."""
    is_there = (given.root / FILE).is_file()
    path = given.root / FILE if is_there else pathlib.Path(":memory:")
    due: tuple[rows.Row, ...] = ()
    waits_for = ""
    with contextlib.closing(Ledger(path, is_read_only=is_there)) as ledger:
        try:
            due = make(ledger=ledger).due()
        except rows.TryAgain as error:
            waits_for = str(error)
        except errors.DataError as error:
            waits_for = error.message
    run = shlex.join(["slimline", "run", given.experiment, *_run_arguments(given)])
    document = {
        "dry_run": True,
        "due": [{name: getattr(row, name) for name in _DUE} for row in due],
        "waits_for": waits_for,
        "command": run,
    }
    lines = [f"slot {row.slot}: {row.reason or f'would run: {run}'}" for row in due]
    if waits_for:
        lines.append(f"waits: {waits_for}")
    text = "\n".join([*(lines or ["nothing is due"]), "", "nothing was run or written"])
    return output.Result(text, document)

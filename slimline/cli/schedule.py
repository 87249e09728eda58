"""slimline schedule: trains by a cron expression, or on every new span."""

import contextlib
import dataclasses
import datetime
import pathlib
import shlex
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click
import filelock

from components.image_example_gen import spans
from pipeline import experiments, inputs, runs, settings
from schema import models_config, versions
from slimline import errors
from slimline.cli import options, output, schedule_text

if TYPE_CHECKING:
    from pipeline.scheduling.controller import Controller, Look
    from pipeline.scheduling.ledger import Ledger
    from pipeline.scheduling.rows import Row

# The program, as this process was started.
_COMMAND = (
    sys.executable,
    "-c",
    "import sys; from slimline.cli.main import main; sys.exit(main())",
)
BY = "slimline.schedule"
_MINUTE_SECONDS = 60.0
Command = Callable[..., Any]


@click.group(short_help="Train on a schedule, or on every new span.")
def command() -> None:
    """Train on a schedule, or on every new span; tell what was done and what is next."""


@dataclasses.dataclass(frozen=True)
class Given:
    """What the options of `run` and `tick` say."""

    experiment: str
    data: str | None
    assignments: tuple[str, ...]
    config_file: pathlib.Path | None
    root: pathlib.Path
    is_tiny: bool
    cron: str | None
    timezone: str
    on_new_span: bool
    missed: str
    grace_minutes: float
    settle_seconds: float
    is_warm: bool
    keep_runs: int
    keep_versions: int
    on_failure: tuple[str, ...]
    on_refusal: tuple[str, ...]
    on_push: tuple[str, ...]


def _when_options(command: Command) -> Command:
    """When to train, and what becomes of what is late."""
    for option in (
        click.option(
            "--settle",
            "settle_seconds",
            type=click.FloatRange(min=0),
            default=60.0,
            show_default=True,
            help="Leave a span alone that was written to within the last so many seconds.",
        ),
        click.option(
            "--grace",
            "grace_minutes",
            type=click.FloatRange(min=0),
            default=15.0,
            show_default=True,
            help="So many minutes late a slot is not missed yet.",
        ),
        click.option(
            "--missed",
            type=click.Choice(["skip", "once", "all"]),
            default="once",
            show_default=True,
            help="What to run of slots that were not begun in time: none, the last, or all.",
        ),
        click.option(
            "--on-new-span",
            "on_new_span",
            is_flag=True,
            help="Train on every new span of --data PATTERN.",
        ),
        click.option(
            "--timezone",
            default="UTC",
            show_default=True,
            help="Time zone of --cron, as Europe/Berlin.",
        ),
        click.option(
            "--cron",
            metavar="EXPRESSION",
            help="When to train: minute, hour, day, month, day of the week, as '0 3 * * *'.",
        ),
    ):
        command = option(command)
    return command


def _after_options(command: Command) -> Command:
    """What to start from, what to keep, whom to tell."""
    for name, event in (
        ("--on-push", "pushed a model"),
        ("--on-refusal", "was refused by the gate or a check"),
        ("--on-failure", "failed"),
    ):
        command = click.option(
            name,
            multiple=True,
            metavar="COMMAND|URL",
            help=f"Tell that a run {event}: JSON to the command's standard input, or by"
            " POST; may be repeated.",
        )(command)
    for option in (
        click.option(
            "--keep-versions",
            type=click.IntRange(min=0),
            default=10,
            show_default=True,
            help="Versions of the model to keep, beside those served; 0 keeps all.",
        ),
        click.option(
            "--keep-runs",
            type=click.IntRange(min=0),
            default=10,
            show_default=True,
            help="Scheduled runs whose artifacts to keep; 0 keeps all.",
        ),
        click.option(
            "--warm-start",
            "is_warm",
            is_flag=True,
            help="Start training from the live model, where there is one.",
        ),
        options.tiny_option,
    ):
        command = option(command)
    return command


@command.command("run", short_help="Stay, and train when it is time.")
@click.argument("experiment", shell_complete=options.complete_experiments)
@_when_options
@click.option(
    "--every",
    "every_minutes",
    type=click.FloatRange(min=0.1),
    default=5.0,
    show_default=True,
    help="Minutes between two looks for a new span.",
)
@options.settings_options
@_after_options
@options.root_option
@options.output_options
def run_command(
    every_minutes: float, is_json: bool, is_quiet: bool, **values: Any
) -> int:
    """Stay, and train EXPERIMENT whenever it is time or a new span has come.

    Each run is a process of its own, as `slimline run` starts one. Stopped or killed, the
    same command goes on with the slot that it was at.
    """
    from pipeline.scheduling import service
    from pipeline.scheduling.clock import SystemClock

    given = Given(**values)
    _check(given)

    def listen(look: "Look", moment: datetime.datetime) -> None:
        for line in schedule_text.look_lines(look, moment, is_json=is_json):
            if not is_quiet or is_json:
                click.echo(line)

    with _ledger(given.root) as ledger, _ended_by_signal():
        service.serve(
            lambda: _controller(given, ledger),
            SystemClock(),
            every_seconds=every_minutes * _MINUTE_SECONDS,
            listener=listen,
        )
    return errors.DONE


@command.command("tick", short_help="Look once, and train what is due.")
@click.argument("experiment", shell_complete=options.complete_experiments)
@_when_options
@click.option(
    "--force",
    "is_forced",
    is_flag=True,
    help="Train now, also where nothing is due or has changed.",
)
@click.option(
    "--dry-run", "is_dry", is_flag=True, help="Show what is due; write nothing."
)
@options.settings_options
@_after_options
@options.root_option
@options.output_options
def tick_command(
    is_forced: bool, is_dry: bool, is_json: bool, is_quiet: bool, **values: Any
) -> int:
    """Look once whether EXPERIMENT is due, and train it then.

    For a systemd timer, a line of cron, or a CronJob of Kubernetes.
    """
    given = Given(**values)
    _check(given)
    if is_dry:
        return _show_due(given, is_forced, is_json=is_json, is_quiet=is_quiet)
    with _ledger(given.root) as ledger, _ended_by_signal():
        look = _controller(given, ledger, is_forced=is_forced, looks_back=True).tick()
    document = {
        "rows": [schedule_text.as_document(row) for row in look.rows],
        "planned": look.planned,
        "waits_for": look.waits_for,
    }
    text = schedule_text.look(look)
    if look.fault is not None:
        text = "\n".join(text.splitlines()[:-1])
        return output.emit_outcome(
            text, document, look.fault, is_json=is_json, is_quiet=is_quiet or not text
        )
    output.emit(text, document, is_json=is_json, is_quiet=is_quiet)
    return _exit_code(look.rows)


@command.command("history", short_help="List the slots with what came of them.")
@click.argument("experiment", required=False)
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    default=20,
    show_default=True,
    help="So many of the newest.",
)
@click.option("--all", "lists_all", is_flag=True, help="All of them.")
@options.root_option
@options.output_options
def history_command(
    experiment: str | None,
    limit: int,
    lists_all: bool,
    root: pathlib.Path,
    is_json: bool,
    is_quiet: bool,
) -> int:
    """List the slots, the newest last, with what came of them and who was told."""
    with _ledger(root, is_read_only=True) as ledger:
        count = -1 if lists_all else limit
        found = ledger.history(experiment, count)
        told = ledger.notices(experiment, count)
    document = {
        "slots": [schedule_text.as_document(row) for row in found],
        "notices": [dataclasses.asdict(notice) for notice in told],
    }
    text = schedule_text.history(found, told)
    output.emit(text, document, is_json=is_json, is_quiet=is_quiet)
    return errors.DONE


@command.command("status", short_help="Say what is running and what is next.")
@options.root_option
@options.output_options
def status_command(root: pathlib.Path, is_json: bool, is_quiet: bool) -> int:
    """Say of each schedule under --root what is running, what was last and what is next."""
    from pipeline.scheduling.clock import SystemClock

    with _ledger(root, is_read_only=True) as ledger:
        states = schedule_text.states(ledger, SystemClock().now())
    text = schedule_text.status(states)
    output.emit(text, {"schedules": states}, is_json=is_json, is_quiet=is_quiet)
    return errors.DONE


def _check(given: Given) -> None:
    """Finds the mistakes that show before anything is due.

    Raises:
      ConfigError: a setting, a cron expression, a command or an address is wrong.
      DataError: there are no data at a path that is no pattern.
    """
    if bool(given.cron) == given.on_new_span:
        raise click.UsageError("give --cron EXPRESSION or --on-new-span")
    resolved = _resolve(given)
    config = resolved.config
    if config.data.span != spans.NEWEST:
        raise errors.ConfigError(
            "a schedule takes the newest span by itself",
            found=f"data.span={config.data.span} ({resolved.origins['data.span']})",
            tip="slimline run trains on a given one",
        )
    if given.is_warm and config.train.weights:
        raise errors.ConfigError(
            "--warm-start and the setting train.weights say two things",
            found=f"train.weights={config.train.weights}",
        )
    is_pattern = spans.is_pattern(config.data.path)
    if given.on_new_span and not is_pattern:
        raise errors.ConfigError(
            "--on-new-span needs a pattern of spans",
            found=config.data.path or "no --data",
            expected="--data with {SPAN}, or {YYYY}, {MM} and {DD}",
        )
    if config.data.path:
        path = inputs.data_path(config, given.root)
        inputs.contract_for(config, path, given.root)
    if is_pattern:
        spans.check_pattern(config.data.path)
        # The first span may be yet to come.
        data = dataclasses.replace(config.data, path="")
        config = dataclasses.replace(config, data=data)
    inputs.check(config)
    _schedule(given, resolved)
    _hooks(given)


def _resolve(given: Given) -> settings.Resolved:
    experiments.find(given.experiment)
    return settings.resolve(
        given.experiment,
        config_file=given.config_file,
        assignments=given.assignments,
        data=given.data,
        is_tiny=given.is_tiny,
    )


def _schedule(
    given: Given,
    resolved: settings.Resolved,
    *,
    is_forced: bool = False,
    looks_back: bool = False,
) -> Any:
    from pipeline.scheduling import controller, data
    from pipeline.scheduling.cron import Cron

    return controller.Schedule(
        pipeline=resolved.config.name,
        settings_key=data.settings_key(resolved.config),
        cron=Cron(given.cron, given.timezone) if given.cron else None,
        missed=given.missed,
        grace_seconds=given.grace_minutes * _MINUTE_SECONDS,
        is_warm=given.is_warm,
        is_forced=is_forced,
        looks_back=looks_back,
    )


def _hooks(given: Given) -> Any:
    from pipeline.scheduling import hooks

    return hooks.Hooks(
        {
            hooks.FAILURE: given.on_failure,
            hooks.REFUSAL: given.on_refusal,
            hooks.PUSH: given.on_push,
        }
    )


def _controller(
    given: Given,
    ledger: "Ledger",
    *,
    is_forced: bool = False,
    looks_back: bool = False,
) -> "Controller":
    from pipeline.scheduling import controller, data, owner
    from pipeline.scheduling.clock import SystemClock
    from pipeline.scheduling.command_runner import CommandRunner

    resolved = _resolve(given)
    config = resolved.config
    root = given.root.resolve()
    path = inputs.data_path(config, root)
    model = root / versions.SERVING_FOLDER / inputs.model_name(config, path)
    identity = inputs.identity(config, path)
    return controller.Controller(
        _schedule(given, resolved, is_forced=is_forced, looks_back=looks_back),
        controller.Surroundings(
            ledger=ledger,
            source=data.ConfiguredSource(config, root, given.settle_seconds),
            runner=CommandRunner(_COMMAND, _run_arguments(given), root),
            clock=SystemClock(),
            owner=owner.this(),
            hooks=_hooks(given),
            has_live_model=lambda: models_config.live(model) is not None,
            is_busy=lambda: _is_busy(root, identity),
            tidy=_tidy(given, ledger, root, identity, model.name),
        ),
    )


def _run_arguments(given: Given) -> list[str]:
    """Options of `slimline run` that every run of the schedule gets."""
    arguments: list[str] = []
    if given.data is not None:
        arguments += ["--data", given.data]
    if given.config_file is not None:
        arguments += ["--config", str(given.config_file)]
    for assignment in given.assignments:
        arguments += ["--set", assignment]
    return [*arguments, *(["--tiny"] if given.is_tiny else [])]


def _tidy(
    given: Given, ledger: "Ledger", root: pathlib.Path, identity: str, model_name: str
) -> "Callable[[Row], None]":
    """What deletes old versions and artifacts after a run."""

    def prune_versions() -> None:
        from serving import models

        if given.keep_versions and model_name in models.names(root):
            models.find(root, model_name).prune(given.keep_versions, by=BY)

    def tidy(row: "Row") -> None:
        # The metadata store takes a second to load, which a look need not wait for.
        from pipeline.scheduling.tidying import Tidying

        Tidying(ledger, root, identity, given.keep_runs, prune_versions)(row)

    return tidy


def _is_busy(root: pathlib.Path, identity: str) -> bool:
    """Whether a run is under way that no schedule began."""
    file = runs.lock_file(root, identity)
    if not file.exists():
        return False
    try:
        with filelock.FileLock(file, timeout=0):
            return False
    except filelock.Timeout:
        return True


@contextlib.contextmanager
def _ledger(root: pathlib.Path, *, is_read_only: bool = False) -> "Iterator[Ledger]":
    from pipeline.scheduling import ledger

    path = root / ledger.FILE
    if is_read_only and not path.is_file():
        raise errors.ConfigError(
            f"no schedule in {root}",
            expected=f"{ledger.FILE}, as slimline schedule run and tick write it",
            tip="--root DIR looks elsewhere",
        )
    opened = ledger.Ledger(path, is_read_only=is_read_only)
    try:
        yield opened
    finally:
        opened.close()


@contextlib.contextmanager
def _ended_by_signal() -> Iterator[None]:
    """Ends what runs inside on SIGTERM as on Ctrl-C: it goes on later."""

    def end(number: int, frame: Any) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _show_due(given: Given, is_forced: bool, *, is_json: bool, is_quiet: bool) -> int:
    from pipeline.scheduling import data, ledger

    waits_for = ""
    due: Sequence[Any] = ()
    path = given.root / ledger.FILE
    with contextlib.ExitStack() as stack:
        if path.is_file():
            opened = stack.enter_context(_ledger(given.root, is_read_only=True))
        else:
            opened = stack.enter_context(
                contextlib.closing(ledger.Ledger(pathlib.Path(":memory:")))
            )
        controller = _controller(given, opened, is_forced=is_forced, looks_back=True)
        try:
            due = controller.due()
        except data.NotSettled as error:
            waits_for = str(error)
        except errors.DataError as error:
            waits_for = error.message
    document: Mapping[str, Any] = {
        "dry_run": True,
        "due": [dataclasses.asdict(new) for new in due],
        "waits_for": waits_for,
        "command": shlex.join(
            ["slimline", "run", given.experiment, *_run_arguments(given)]
        ),
    }
    text = schedule_text.due(due, waits_for, document["command"])
    output.emit(text, document, is_json=is_json, is_quiet=is_quiet)
    return errors.DONE


def _exit_code(found: "Sequence[Row]") -> int:
    """Of a look: that of the last slot that did not end well."""
    codes = [row.exit_code or 0 for row in found]
    return next((code for code in reversed(codes) if code), errors.DONE)

"""Options that several commands share, and the completion of their values."""

import functools
import pathlib
import pkgutil
import shlex
from collections.abc import Callable, Iterable
from typing import Any

import click

from slimline import roots
from slimline.terminal import output

DEFAULT_ROOT = "runs"
# An option whose default --help shows.
shown = functools.partial(click.option, show_default=True)
flag = functools.partial(click.option, is_flag=True)
Command = Callable[..., Any]
Option = Callable[[Command], Command]
Completion = Callable[[click.Context, click.Parameter, str], list[str]]


def together(*given: Option) -> Option:
    """One decorator of several; --help shows their options in this order."""

    def decorate(command: Command) -> Command:
        for option in reversed(given):
            command = option(command)
        return command

    return decorate


def completes(names: Callable[[click.Context], Iterable[str]]) -> Completion:
    """Completion with those of the names that begin with what was typed."""

    def complete(
        context: click.Context, parameter: click.Parameter, incomplete: str
    ) -> list[str]:
        return [name for name in names(context) if name.startswith(incomplete)]

    return complete


def _root(context: click.Context) -> pathlib.Path:
    return pathlib.Path(context.params.get("root") or DEFAULT_ROOT)


def as_typed(*words: str, root: pathlib.Path) -> str:
    """The command `slimline WORDS`, with --root where it is not the default."""
    short_root = output.short_place(str(root))
    if short_root != DEFAULT_ROOT:
        words = (*words, "--root", short_root)
    return shlex.join(["slimline", *words])


def _names_of(table: str) -> Completion:
    """Completion with the keys of a table, 'MODULE:NAME', imported when it is needed."""
    return completes(lambda context: pkgutil.resolve_name(table))


complete_sweeps = _names_of("pipeline.sweeps.registry:SWEEPS")
complete_experiments = _names_of("pipeline.experiments:EXPERIMENTS")
complete_nets = _names_of("trainer.nets.registry:NETS")


@completes
def complete_weights(context: click.Context) -> Iterable[str]:
    """Names of weights."""
    from trainer.weights import store

    return [manifest.name for manifest in store.all_manifests()]


@completes
def complete_runs(context: click.Context) -> Iterable[str]:
    """The two words of the runs under --root, newest first."""
    from pipeline.runs import runs

    folders = reversed(runs.list_runs(_root(context)))
    return [*map(runs.two_words, folders), runs.LATEST]


@completes
def complete_settings(context: click.Context) -> Iterable[str]:
    """Keys for --set, with the equals sign."""
    from pipeline.config import PipelineConfig
    from trainer.config import known_keys

    return [f"{key}=" for key in known_keys(PipelineConfig)]


@completes
def complete_engine_options(context: click.Context) -> Iterable[str]:
    """Options that the engine of the command takes."""
    from pipeline.beam import engines

    preset = engines.ENGINES.get(context.params.get("engine") or "")
    presets = [preset] if preset else engines.ENGINES.values()
    return dict.fromkeys(f"{key}=" for each in presets for key in each.flags)


@completes
def complete_models(context: click.Context) -> Iterable[str]:
    """Names of pushed models under --root."""
    from serving import local_model

    return local_model.model_names(_root(context))


def _keep(name: str) -> Callable[[click.Context, click.Parameter, bool], None]:
    """Keeps a flag where `output` finds it."""

    def keep(context: click.Context, parameter: click.Parameter, value: bool) -> None:
        context.meta[name] = value

    return keep


_unexposed = functools.partial(flag, expose_value=False)
output_options = together(
    _unexposed(
        "--json",
        callback=_keep(output.JSON),
        help="Print the result as one JSON object on standard output.",
    ),
    _unexposed(
        "-q",
        "--quiet",
        callback=_keep(output.QUIET),
        help="Print nothing on success, but for --json.",
    ),
    # Read by `main`, which shows the errors.
    _unexposed("--debug", help="Show the stack of an error."),
)


def _local(
    context: click.Context, parameter: click.Parameter, root: str
) -> pathlib.Path:
    # A completion must not wait for a store.
    return roots.local(root, pulls=not context.resilient_parsing)


root_option = shown(
    "--root",
    type=click.Path(file_okay=False),
    callback=_local,
    default=DEFAULT_ROOT,
    envvar="SLIMLINE_ROOT",
    show_envvar=True,
    help="Folder of runs, artifacts and pushed models, also as s3://BUCKET/PREFIX.",
)
# For `output.check_agreed`.
yes_option = flag("--yes", "is_sure", help="Do not ask; needed without a terminal.")
plain_option = flag(
    "--plain",
    "is_plain",
    help="Print a time-stamped line an event, as without a terminal.",
)
tiny_option = flag(
    "--tiny",
    "is_tiny",
    help="Two steps with few pixels, to try the chain; the model goes to <model>-tiny.",
)
set_option = functools.partial(
    click.option,
    "--set",
    "assignments",
    multiple=True,
    metavar="KEY=VALUE",
    shell_complete=complete_settings,
)
# What to run with: arguments of `pipeline.settings.resolve`.
settings_options = together(
    click.option(
        "--data",
        metavar="PATH",
        help="Folder or archive of the images, also as s3://BUCKET/NAME.",
    ),
    set_option(
        help="Change a setting, as train.epochs=30; may be repeated, in any order."
    ),
    click.option(
        "--config",
        "config_file",
        type=click.Path(exists=True, dir_okay=False, path_type=pathlib.Path),
        help="YAML file with settings.",
    ),
)
running_options = together(
    tiny_option,
    flag("--no-cache", "is_uncached", help="Run every component again."),
    flag("--dry-run", "is_dry", help="Show what would run; write nothing."),
    flag(
        "-v",
        "--verbose",
        "is_verbose",
        help="Show the logs of the components as well; they are always in log.txt.",
    ),
    plain_option,
)


def run_argument(command: Command) -> Command:
    """RUN, the newest by default."""
    from pipeline.runs import runs

    return click.argument(
        "run_name", metavar="[RUN]", default=runs.LATEST, shell_complete=complete_runs
    )(command)


def file_option(default: str, what: str) -> Option:
    """--output, the file that a command writes."""
    return shown(
        "--output",
        "path",
        type=click.Path(dir_okay=False, path_type=pathlib.Path),
        default=default,
        help=f"{what} to write.",
    )


def engine_options(command: Command) -> Command:
    """--beam-runner and --beam-option: where the Beam jobs run."""
    from pipeline.beam import engines

    return together(
        click.option(
            "--beam-runner",
            "engine",
            type=click.Choice(list(engines.ENGINES)),
            help="Where the Beam jobs run; local by default. It is the setting"
            " engine.name.",
        ),
        click.option(
            "--beam-option",
            "engine_options",
            multiple=True,
            metavar="KEY=VALUE",
            shell_complete=complete_engine_options,
            help="Set an option of the engine, as workers=4 or job_endpoint=HOST:PORT; may"
            " be repeated. It is the setting engine.KEY.",
        ),
    )(command)


def layout_options(command: Command) -> Command:
    """--format and --set, the layout of a dataset: settings as `assignments`."""

    @functools.wraps(command)
    def with_format(
        *, input_format: str | None, assignments: tuple[str, ...], **values: Any
    ) -> Any:
        if input_format is not None:
            assignments = (f"data.format={input_format}", *assignments)
        return command(assignments=assignments, **values)

    return together(
        click.option(
            "--format",
            "input_format",
            help="Layout of the data, as in the setting data.format; auto by default.",
        ),
        set_option(
            help="Decide about the layout, as data.columns.label=species; may be repeated."
        ),
    )(with_format)

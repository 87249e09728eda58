"""Options that several commands share, and the completion of their values."""

import functools
import pathlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import click

from slimline.terminal import output
from storage import mirror

if TYPE_CHECKING:
    from components.image_example_gen.layouts import Answers
    from pipeline.config import DataConfig

DEFAULT_ROOT = "runs"
Command = Callable[..., Any]


def output_options(command: Command) -> Command:
    """--json, -q and --debug, and the printing of the `output.Result` that comes back.

    --debug is read by `main`, which shows the errors.
    """

    @functools.wraps(command)
    def printing(*args: Any, **values: Any) -> int:
        made = command(*args, **values)
        if isinstance(made, output.Result):
            return output.show(made)
        code: int = made
        return code

    decorated: Command = printing
    for option in (
        click.option(
            "--debug",
            is_flag=True,
            expose_value=False,
            help="Show the stack of an error.",
        ),
        click.option(
            "-q",
            "--quiet",
            is_flag=True,
            expose_value=False,
            callback=_keep(output.QUIET),
            help="Print nothing on success, but for --json.",
        ),
        click.option(
            "--json",
            is_flag=True,
            expose_value=False,
            callback=_keep(output.JSON),
            help="Print the result as one JSON object on standard output.",
        ),
    ):
        decorated = option(decorated)
    return decorated


def _keep(name: str) -> Callable[[click.Context, click.Parameter, bool], None]:
    """Keeps a flag where `output` finds it."""

    def keep(context: click.Context, parameter: click.Parameter, value: bool) -> None:
        context.meta[name] = value

    return keep


class RootFolder(click.Path):
    """Folder of the runs; one in an object store becomes its folder on this machine."""

    name = "directory|uri"

    def __init__(self) -> None:
        """As a path that need not exist."""
        super().__init__(file_okay=False, path_type=pathlib.Path)

    def convert(
        self,
        value: Any,
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> Any:
        """See base class.

        Raises:
          ConfigError: the object store gives no answer.
        """
        if not mirror.concerns(value):
            return super().convert(value, param, ctx)
        from pipeline.runs import remote_roots

        # A completion must not wait for a store.
        return remote_roots.local(value, pulls=not (ctx and ctx.resilient_parsing))


def yes_option(command: Command) -> Command:
    """--yes, for `output.check_agreed`."""
    return click.option(
        "--yes", "is_sure", is_flag=True, help="Do not ask; needed without a terminal."
    )(command)


def root_option(command: Command) -> Command:
    """--root, the folder of runs and pushed models."""
    return click.option(
        "--root",
        type=RootFolder(),
        default=DEFAULT_ROOT,
        show_default=True,
        envvar="SLIMLINE_ROOT",
        show_envvar=True,
        help="Folder of runs, artifacts and pushed models, also as s3://BUCKET/PREFIX.",
    )(command)


def run_argument(command: Command) -> Command:
    """RUN, the newest where it is left out."""
    from pipeline.runs import runs

    return click.argument(
        "run_name", metavar="[RUN]", default=runs.LATEST, shell_complete=complete_runs
    )(command)


def _set_option(help_text: str) -> Callable[[Command], Command]:
    """--set, settings by key."""
    return click.option(
        "--set",
        "assignments",
        multiple=True,
        metavar="KEY=VALUE",
        shell_complete=complete_settings,
        help=help_text,
    )


def layout_options(command: Command) -> Command:
    """--format and --set: the layout of a data set."""
    for option in (
        _set_option(
            "Decide about the layout, as data.columns.label=species; may be repeated."
        ),
        click.option(
            "--format",
            "input_format",
            help="Layout of the data, as in the setting data.format; auto by default.",
        ),
    ):
        command = option(command)
    return command


def layout_answers(input_format: str | None, assignments: Sequence[str]) -> "Answers":
    """What the options and the environment say about the layout of the data.

    Raises:
      ConfigError: an unknown layout or setting.
    """
    from pipeline import answers

    return answers.of(data_settings(input_format, assignments))


def data_settings(input_format: str | None, assignments: Sequence[str]) -> "DataConfig":
    """What the options and the environment say about the data.

    Raises:
      ConfigError: an unknown setting.
    """
    from pipeline import experiments, settings

    if input_format is not None:
        assignments = [*assignments, f"data.format={input_format}"]
    resolved = settings.resolve(experiments.DEFAULT, assignments=assignments)
    return resolved.config.data


def picture_option(default: str) -> Callable[[Command], Command]:
    """--output, the PNG that a command draws."""
    return click.option(
        "--output",
        "path",
        type=click.Path(dir_okay=False, path_type=pathlib.Path),
        default=default,
        show_default=True,
        help="Picture to write.",
    )


def settings_options(command: Command) -> Command:
    """--data, --set and --config: what to run with."""
    for option in (
        click.option(
            "--config",
            "config_file",
            type=click.Path(exists=True, dir_okay=False, path_type=pathlib.Path),
            help="YAML file with settings.",
        ),
        _set_option(
            "Change a setting, as train.epochs=30; may be repeated, in any order."
        ),
        click.option(
            "--data",
            metavar="PATH",
            help="Folder or archive of the images, also as s3://BUCKET/NAME.",
        ),
    ):
        command = option(command)
    return command


def engine_options(command: Command) -> Command:
    """--beam-runner and --beam-option: where the Beam jobs run."""
    from pipeline.beam import engines

    for option in (
        click.option(
            "--beam-option",
            "engine_options",
            multiple=True,
            metavar="KEY=VALUE",
            shell_complete=complete_engine_options,
            help="Set an option of the engine, as workers=4 or job_endpoint=HOST:PORT; may"
            " be repeated. It is the setting engine.KEY.",
        ),
        click.option(
            "--beam-runner",
            "engine",
            type=click.Choice(list(engines.ENGINES)),
            help="Where the Beam jobs run; local by default. It is the setting"
            " engine.name.",
        ),
    ):
        command = option(command)
    return command


def plain_option(command: Command) -> Command:
    """--plain, lines in place of a bar."""
    return click.option(
        "--plain",
        "is_plain",
        is_flag=True,
        help="A time-stamped line an event, as without a terminal.",
    )(command)


def tiny_option(command: Command) -> Command:
    """--tiny, the smallest form of an experiment."""
    return click.option(
        "--tiny",
        "is_tiny",
        is_flag=True,
        help="Two steps with few pixels, to try the chain; the model goes to <model>-tiny.",
    )(command)


def running_options(command: Command) -> Command:
    """--tiny, --no-cache, --dry-run, -v and --plain: how to run it."""
    for option in (
        plain_option,
        click.option(
            "-v",
            "--verbose",
            "is_verbose",
            is_flag=True,
            help="Show the logs of the components as well; they are always in log.txt.",
        ),
        click.option(
            "--dry-run",
            "is_dry",
            is_flag=True,
            help="Show what would run; write nothing.",
        ),
        click.option(
            "--no-cache", "is_uncached", is_flag=True, help="Run every component again."
        ),
        tiny_option,
    ):
        command = option(command)
    return command


def complete_sweeps(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[str]:
    """Names of sweeps that begin with `incomplete`."""
    from pipeline.sweeps import registry

    return [name for name in registry.SWEEPS if name.startswith(incomplete)]


def complete_experiments(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[str]:
    """Names of experiments that begin with `incomplete`."""
    from pipeline import experiments

    return [name for name in experiments.EXPERIMENTS if name.startswith(incomplete)]


def complete_nets(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[str]:
    """Names of nets that begin with `incomplete`."""
    from trainer.nets import registry

    return [name for name in registry.NETS if name.startswith(incomplete)]


def complete_weights(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[str]:
    """Names of weights that begin with `incomplete`."""
    from trainer.weights import store

    names = [manifest.name for manifest in store.all_manifests()]
    return [name for name in names if name.startswith(incomplete)]


def complete_runs(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[str]:
    """The two words of the runs under --root that begin with `incomplete`, newest first."""
    from pipeline.runs import runs

    root = pathlib.Path(context.params.get("root") or DEFAULT_ROOT)
    words = [runs.two_words(folder) for folder in reversed(runs.list_runs(root))]
    return [name for name in [*words, runs.LATEST] if name.startswith(incomplete)]


def complete_settings(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[str]:
    """Keys for --set that begin with `incomplete`, with the equals sign."""
    from pipeline.config import PipelineConfig
    from trainer.config import known_keys

    return [
        f"{key}=" for key in known_keys(PipelineConfig) if key.startswith(incomplete)
    ]


def complete_engine_options(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[str]:
    """Options that the engine of the command takes and that begin with `incomplete`."""
    from pipeline.beam import engines

    preset = engines.ENGINES.get(context.params.get("engine") or "")
    presets = [preset] if preset else list(engines.ENGINES.values())
    keys = dict.fromkeys(key for each in presets for key in each.takes)
    return [f"{key}=" for key in keys if key.startswith(incomplete)]


def complete_models(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[str]:
    """Names of pushed models under --root that begin with `incomplete`."""
    from serving import local_model

    root = pathlib.Path(context.params.get("root") or DEFAULT_ROOT)
    return [
        name for name in local_model.model_names(root) if name.startswith(incomplete)
    ]

"""Options that several commands share, and the completion of their values."""

import pathlib
from collections.abc import Callable
from typing import Any

import click

DEFAULT_ROOT = "runs"
Command = Callable[..., Any]


def output_options(command: Command) -> Command:
    """--json, -q and --debug; the last is read by `main`, which shows the errors."""
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
            "is_quiet",
            is_flag=True,
            help="Print nothing on success, but for --json.",
        ),
        click.option(
            "--json",
            "is_json",
            is_flag=True,
            help="Print the result as one JSON object on standard output.",
        ),
    ):
        command = option(command)
    return command


def root_option(command: Command) -> Command:
    """--root, the folder of runs and pushed models."""
    return click.option(
        "--root",
        type=click.Path(file_okay=False, path_type=pathlib.Path),
        default=DEFAULT_ROOT,
        show_default=True,
        envvar="SLIMLINE_ROOT",
        show_envvar=True,
        help="Folder of runs, artifacts and pushed models.",
    )(command)


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


def complete_runs(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[str]:
    """The two words of the runs under --root that begin with `incomplete`, newest first."""
    from pipeline import runs

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


def complete_models(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[str]:
    """Names of pushed models under --root that begin with `incomplete`."""
    from serving import local_model

    root = pathlib.Path(context.params.get("root") or DEFAULT_ROOT)
    return [
        name for name in local_model.model_names(root) if name.startswith(incomplete)
    ]

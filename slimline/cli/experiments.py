"""slimline experiments: what can be run, and with which settings."""

import inspect

import click

from pipeline import experiments, settings
from pipeline.config import PipelineConfig
from slimline import errors
from slimline.cli import options, output
from trainer.config import known_keys


@click.command(short_help="List the experiments, or the settings of one.")
@click.argument("name", required=False, shell_complete=options.complete_experiments)
@options.output_options
def command(name: str | None, is_json: bool, is_quiet: bool) -> int:
    """List the experiments; with NAME all its settings, their values and meaning."""
    if name is None:
        _list(is_json, is_quiet)
    else:
        _show(name, is_json, is_quiet)
    return errors.DONE


def _list(is_json: bool, is_quiet: bool) -> None:
    first_lines = {
        name: (inspect.getdoc(function) or "").partition("\n")[0]
        for name, function in experiments.EXPERIMENTS.items()
    }
    document = {
        "experiments": [
            {"name": name, "description": line} for name, line in first_lines.items()
        ],
        "default": experiments.DEFAULT,
    }
    text = output.columns(list(first_lines.items()))
    output.emit(text, document, is_json=is_json, is_quiet=is_quiet)


def _show(name: str, is_json: bool, is_quiet: bool) -> None:
    # The experiment itself: neither the environment nor a file of this user's.
    values = settings.resolve(name, environment={}).values()
    keys = known_keys(PipelineConfig)
    document = {
        "experiment": name,
        "description": inspect.getdoc(experiments.EXPERIMENTS[name]) or "",
        "settings": {
            key: {"value": values[key], "help": field.metadata["help"]}
            for key, field in keys.items()
        },
    }
    rows = [("setting", "value", "meaning")]
    rows += [
        (key, settings.show(values[key]), field.metadata["help"])
        for key, field in keys.items()
    ]
    text = f"{document['description']}\n\n{output.columns(rows)}"
    output.emit(text, document, is_json=is_json, is_quiet=is_quiet)

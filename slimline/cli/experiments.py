"""slimline experiments: what can be run, and with which settings."""

import inspect

import click

from pipeline import experiments, settings
from slimline import errors, tables
from slimline.cli import options, output


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
    rows = tables.of_experiments()
    document = {"experiments": rows, "default": experiments.DEFAULT}
    text = output.columns([(row["name"], row["description"]) for row in rows])
    output.emit(text, document, is_json=is_json, is_quiet=is_quiet)


def _show(name: str, is_json: bool, is_quiet: bool) -> None:
    found = tables.of_settings(name)
    document = {
        "experiment": name,
        "description": inspect.getdoc(experiments.EXPERIMENTS[name]) or "",
        "settings": found,
    }
    rows = [("setting", "value", "meaning")]
    rows += [
        (key, settings.show(each["value"]), each["help"]) for key, each in found.items()
    ]
    text = f"{document['description']}\n\n{output.columns(rows)}"
    output.emit(text, document, is_json=is_json, is_quiet=is_quiet)

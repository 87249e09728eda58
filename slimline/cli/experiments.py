"""slimline experiments: what can be run, and with which settings."""

import inspect

import click

from pipeline import experiments, settings
from slimline import tables
from slimline.terminal import options, output


@click.command(short_help="List the experiments, or the settings of one.")
@click.argument("name", required=False, shell_complete=options.complete_experiments)
@options.output_options
def command(name: str | None) -> output.Result:
    """List the experiments, or the settings of NAME with values and meaning."""
    return _list() if name is None else _show(name)


def _list() -> output.Result:
    rows = tables.of_experiments()
    document = {"experiments": rows, "default": experiments.DEFAULT}
    text = output.columns([(row["name"], row["description"]) for row in rows])
    return output.Result(text, document)


def _show(name: str) -> output.Result:
    found = tables.of_settings(name)
    document = {
        "experiment": name,
        "description": inspect.getdoc(experiments.EXPERIMENTS[name]) or "",
        "settings": found,
    }
    rows = [
        {"setting": key, "value": settings.show(each["value"]), "meaning": each["help"]}
        for key, each in found.items()
    ]
    text = f"{document['description']}\n\n{output.table(rows)}"
    return output.Result(text, document)

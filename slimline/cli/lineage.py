"""slimline lineage: from the data to the pushed version, with fingerprints."""

import dataclasses
import pathlib

import click

from pipeline.runs import runs
from slimline import capture, origins
from slimline.terminal import options, output


@click.command(short_help="Say where a model came from.")
@click.argument("target", default=runs.LATEST, shell_complete=options.complete_runs)
@options.root_option
@options.output_options
def command(target: str, root: pathlib.Path) -> output.Result:
    """Say where a model came from: data, contract, Transform, training, gate, push.

    TARGET is a run (the newest by default), NAME@VERSION, or the folder of a version.
    """
    # The metadata store and TensorFlow write to the terminal.
    with capture.discard():
        found = origins.of_target(root, target)
    steps = [
        dataclasses.asdict(step) | {"sentence": sentence}
        for step, sentence in zip(found.steps, found.sentences, strict=True)
    ]
    return output.Result(str(found), {"target": found.target, "steps": steps})

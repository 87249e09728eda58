"""slimline lineage: from the data to the pushed version, with fingerprints."""

import dataclasses
import pathlib
from typing import TYPE_CHECKING

import click

from pipeline.runs import runs
from slimline import capture, origins
from slimline.terminal import options, output

if TYPE_CHECKING:
    from pipeline.runs.lineage import Step

_WIDTH = 10


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
    rows = list(zip(found.steps, found.sentences, strict=True))
    document = {
        "target": found.target,
        "steps": [
            dataclasses.asdict(step) | {"sentence": sentence} for step, sentence in rows
        ],
    }
    blocks = [_describe(step, sentence) for step, sentence in rows]
    text = "\n".join([found.target, *blocks])
    return output.Result(text, document)


def _describe(step: "Step", sentence: str) -> str:
    from pipeline.runs import lineage

    rows = [(step.component, sentence or f"finished {step.finished}")]
    if data := step.properties.get(lineage.DATA_FINGERPRINT):
        rows.append(("", f"data {data}  {step.properties.get('input_path', '')}"))
    if code := step.properties.get(lineage.SOURCE_FINGERPRINT):
        rows.append(("", f"code {code}"))
    for uri in step.outputs.values():
        gone = "" if pathlib.Path(uri).exists() else "  (gone)"
        rows.append(("", f"{output.short_path(uri)}{gone}"))
    return "\n".join(f"{label:<{_WIDTH}} {text}" for label, text in rows)

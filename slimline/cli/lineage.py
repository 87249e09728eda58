"""slimline lineage: from the data to the pushed version, with fingerprints."""

import dataclasses
import pathlib
from typing import TYPE_CHECKING

import click

from pipeline import runs
from slimline import capture, errors
from slimline.cli import options, output

if TYPE_CHECKING:
    from pipeline.lineage import Step

_WIDTH = 10


@click.command(short_help="Say where a model came from.")
@click.argument("target", default=runs.LATEST, shell_complete=options.complete_runs)
@options.root_option
@options.output_options
def command(target: str, root: pathlib.Path, is_json: bool, is_quiet: bool) -> int:
    """Say where a model came from: data, contract, Transform, training, gate, push.

    TARGET is a run (the newest by default), NAME@VERSION, or the folder of a version.
    """
    with capture.discard():
        title, steps = _find(target, root)
        from pipeline import model_card

        told = [model_card.sentence(step) for step in steps]
    blocks = [_describe(step, text) for step, text in zip(steps, told, strict=True)]
    document = {
        "target": title,
        "steps": [
            dataclasses.asdict(step) | {"sentence": text}
            for step, text in zip(steps, told, strict=True)
        ],
    }
    text = "\n".join([title, *blocks])
    output.emit(text, document, is_json=is_json, is_quiet=is_quiet)
    return errors.DONE


def _find(target: str, root: pathlib.Path) -> "tuple[str, tuple[Step, ...]]":
    from pipeline import lineage
    from serving import local_model

    if "@" in target or pathlib.Path(target).is_dir():
        folder = local_model.find_model(root, target)
        return f"{folder.parent.name}@{folder.name}", lineage.of_version(root, folder)
    folder = runs.find(root, target)
    artifacts = runs.read_summary(folder)["artifacts"]
    uris = [
        uri
        for outputs in artifacts.values()
        for found in outputs.values()
        for uri in found
    ]
    return folder.name, lineage.of_artifacts(root, uris)


def _describe(step: "Step", sentence: str) -> str:
    from pipeline import lineage

    rows = [(step.component, sentence or f"finished {step.finished}")]
    if data := step.properties.get(lineage.DATA_FINGERPRINT):
        rows.append(("", f"data {data}  {step.properties.get('input_path', '')}"))
    if code := step.properties.get(lineage.SOURCE_FINGERPRINT):
        rows.append(("", f"code {code}"))
    for uri in step.outputs.values():
        gone = "" if pathlib.Path(uri).exists() else "  (gone)"
        rows.append(("", f"{output.short_path(uri)}{gone}"))
    return "\n".join(f"{label:<{_WIDTH}} {text}" for label, text in rows)

"""slimline weights: published weights, imported into a store or built in."""

import dataclasses
import pathlib

import click

from slimline import capture, errors
from slimline.terminal import options, output
from trainer.weights import store
from trainer.weights.store import Manifest

MAX_LABELS_BYTES = 2**22
_name = click.argument("name", metavar="NAME", shell_complete=options.complete_weights)


@click.group(short_help="Import published weights; list, show and remove them.")
def command() -> None:
    """Import published weights to start a training from; list, show and remove them.

    The store is $SLIMLINE_WEIGHTS, or slimline/weights in the user's cache folder.
    """


@command.command("import", short_help="Import a file of weights.")
@click.argument("source", metavar="SOURCE")
@click.option(
    "--net",
    required=True,
    metavar="NET",
    shell_complete=options.complete_nets,
    help="Net that the weights belong to; slimline nets lists them.",
)
@click.option("--name", default="", help="Name in the store; the net's by default.")
@click.option("--licence", default="", help="Licence of the weights, for the record.")
@click.option(
    "--labels",
    "labels_file",
    type=click.Path(exists=True, dir_okay=False, path_type=pathlib.Path),
    help="Text file with a class name per line, in the order of the weights.",
)
@click.option(
    "--origin",
    default="",
    help="Publisher of the weights, where they fit the layouts of several publishers.",
)
@options.output_options
def import_command(
    source: str, labels_file: pathlib.Path | None, **given: str
) -> output.Result:
    """Import the weights in SOURCE into the store.

    SOURCE is a PyTorch state dict (.pth), a .safetensors file, Keras weights (.h5,
    .weights.h5) or a TensorFlow checkpoint, recognised by its content. No code in it is
    run.
    """
    labels = _read_labels(labels_file) if labels_file else ()
    # TensorFlow, which builds the net, writes to the terminal.
    with capture.discard():
        manifest = store.add(source, labels=labels, **given)
    text = f"imported {manifest.source}\n\n{_facts(manifest)}"
    return output.Result(text, {"imported": dataclasses.asdict(manifest)})


@command.command("list", short_help="List all weights.")
@options.output_options
def list_command() -> output.Result:
    """List the weights in the store and those that are built in."""
    found = store.all_manifests()
    rows = [
        {
            "name": manifest.name,
            "net": manifest.net,
            "classes": f"{manifest.num_classes:,}" if manifest.num_classes else "none",
            "parameters": f"{manifest.parameters:,}",
            "format": manifest.format,
            "licence": manifest.licence,
            "imported (UTC)": manifest.note
            if manifest.note == store.DAMAGED
            else _imported(manifest),
        }
        for manifest in found
    ]
    text = output.table(rows, numbers=("classes", "parameters"))
    if not found:
        text = f"no weights in {store.folder()}: slimline weights import adds some"
    return output.Result(text, {"weights": list(map(dataclasses.asdict, found))})


@command.command("show", short_help="Show where weights come from.")
@_name
@options.output_options
def show_command(name: str) -> output.Result:
    """Show source, licence and expected images of the weights called NAME."""
    manifest = store.find(name)
    return output.Result(_facts(manifest), {"weights": dataclasses.asdict(manifest)})


@command.command("remove", short_help="Delete weights from the store.")
@_name
@options.yes_option
@options.output_options
def remove_command(name: str, is_sure: bool) -> output.Result:
    """Delete the weights called NAME from the store. Their source is not touched."""
    store.check_removable(name)
    output.check_agreed(f"delete the weights '{name}'", is_sure=is_sure)
    store.remove(name)
    return output.Result(f"deleted the weights '{name}'", {"removed": name})


def _read_labels(path: pathlib.Path) -> list[str]:
    """Lines of a text file, without blank ones at its end.

    Raises:
      ConfigError: it cannot be read, is not text, has an empty line, or is too long.
    """
    try:
        if path.stat().st_size > MAX_LABELS_BYTES:
            raise errors.ConfigError(f"{path} is too long for a list of labels")
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise errors.ConfigError(f"{path} is not text in UTF-8") from error
    except OSError as error:
        reason = error.strerror or str(error)
        raise errors.ConfigError(f"cannot read {path}: {reason}") from error
    labels = [line.strip() for line in text.rstrip().splitlines()]
    if not all(labels):
        raise errors.ConfigError(
            f"{path} has an empty line", expected="a class name per line"
        )
    return labels


def _facts(manifest: Manifest) -> str:
    classes = f"{manifest.num_classes:,}" if manifest.num_classes else "no class layer"
    if labels := ", ".join(manifest.labels[:3]):
        classes += f" ({labels}{', ...' if len(manifest.labels) > 3 else ''})"
    facts = {
        "name": manifest.name,
        "net": manifest.net,
        "source": manifest.source,
        "format": f"{manifest.format}, as published by {manifest.origin}",
        "sha256": manifest.sha256,
        "licence": manifest.licence,
        "classes": classes,
        "parameters": f"{manifest.parameters:,}",
        "images": _images(manifest),
        "imported": _imported(manifest),
        "note": manifest.note,
    }
    return "\n".join(output.facts(facts, width=12))


def _images(manifest: Manifest) -> str:
    """'32 px of 40, bicubic, (x - 127) / [1, 2.5, 3]'."""
    expected = manifest.preprocessing
    size = f"{expected['crop_px']} px of {expected['resize_px']}"
    values = expected["standardise"]
    if values == "fixed":
        mean, deviation = (_numbers(expected[key]) for key in ("mean", "deviation"))
        values = f"(x - {mean}) / {deviation}"
    return f"{size}, {expected['interpolation']}, {values}"


def _numbers(values: tuple[float, ...]) -> str:
    listed = ", ".join(f"{value:g}" for value in values)
    return listed if len(values) == 1 else f"[{listed}]"


def _imported(manifest: Manifest) -> str:
    if manifest.is_built_in:
        return "built in"
    return manifest.imported_at[:16].replace("T", " ")

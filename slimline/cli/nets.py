"""slimline nets: the nets by name."""

import click

from slimline import errors
from slimline.cli import options, output
from trainer.nets import registry
from trainer.nets.blocks import NetSpec

_HEADER = ("net", "input", "classes", "parameters", "reference")


@click.command(short_help="List the nets, or show one.")
@click.argument("name", required=False, shell_complete=options.complete_nets)
@options.output_options
def command(name: str | None, is_json: bool, is_quiet: bool) -> int:
    """List the nets, or show the one called NAME.

    Input and parameters are those of the reference; a net takes other sizes and numbers of
    classes too.
    """
    specs = list(registry.NETS.values()) if name is None else [registry.find(name)]
    document = {
        "nets": [
            {
                "name": spec.name,
                "image_size_px": spec.image_size_px,
                "channels": spec.channels,
                "num_classes": spec.num_classes,
                "parameters": spec.parameters,
                "reference": spec.reference,
            }
            for spec in specs
        ]
    }
    text = output.columns([_HEADER, *map(_row, specs)])
    output.emit(text, document, is_json=is_json, is_quiet=is_quiet)
    return errors.DONE


def _row(spec: NetSpec) -> tuple[str, ...]:
    side = spec.image_size_px
    return (
        spec.name,
        f"{side}x{side}x{spec.channels}",
        str(spec.num_classes),
        f"{spec.parameters:,}",
        spec.reference,
    )

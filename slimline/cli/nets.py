"""slimline nets: the nets by name, and the layer table of one."""

from collections.abc import Mapping, Sequence
from typing import Any

import click

from slimline import tables
from slimline.terminal import options, output
from trainer.nets import geometry, registry
from trainer.nets.blocks import NetSpec

_NUMBERS = ("smallest", "classes", "parameters", "mult-adds")


@click.command(short_help="List the nets, or show the layers of one.")
@click.argument("name", required=False, shell_complete=options.complete_nets)
@click.option(
    "--image-size",
    "image_size_px",
    type=click.IntRange(min=1),
    metavar="PX",
    help="Show NAME for square images of this size; the reference's by default.",
)
@click.option(
    "--channels",
    type=click.Choice(["1", "3"]),
    help="Show NAME for gray (1) or colour (3) images.",
)
@click.option(
    "--classes",
    "num_classes",
    type=click.IntRange(min=2),
    help="Show NAME for this number of classes.",
)
@options.output_options
def command(
    name: str | None, channels: str | None, **size: int | None
) -> output.Result:
    """List the nets, or show the layers of the net NAME.

    Input, classes, parameters and multiply-adds (of one image) are those of the reference.
    A net takes any number of classes, gray or colour images, and squares from the smallest
    size up.
    """
    # `size`: image_size_px and num_classes.
    if name is not None:
        spec = registry.find(name)
        layers = geometry.layer_rows(
            spec, channels=int(channels) if channels else None, **size
        )
        rows = [tables.of_layer(layer) for layer in layers]
        text = _describe(spec, rows)
        shown = [tables.of_net(spec) | {"layers": rows}]
    elif channels or any(size.values()):
        raise click.UsageError(
            "--image-size, --channels and --classes need the NAME of a net"
        )
    else:
        shown = tables.of_nets()
        text = output.table(list(map(_net_cells, shown)), _NUMBERS)
    return output.Result(text, {"nets": shown})


def _describe(spec: NetSpec, layers: Sequence[Mapping[str, Any]]) -> str:
    """The facts of a net and its layer table."""
    smallest_px = geometry.smallest_input_px(spec)
    facts = {
        "net": f"{spec.name}, family {spec.family}",
        "reference": spec.reference,
        "smallest": f"{smallest_px} x {smallest_px} px",
    }
    sums = [sum(row[key] for row in layers) for key in ("parameters", "multiply_adds")]
    rows = [
        {
            "layer": row["name"],
            "what": row["description"],
            "output": "x".join(map(str, row["shape"])),
            **_costs(row["parameters"], row["multiply_adds"]),
        }
        for row in layers
    ]
    rows.append({"layer": "total", "what": "", "output": "", **_costs(*sums)})
    return "\n".join([*output.facts(facts, 11), "", output.table(rows, _NUMBERS)])


def _net_cells(net: Mapping[str, Any]) -> dict[str, str]:
    size = net["image_size_px"]
    return {
        "net": net["name"],
        "family": net["family"],
        "input": f"{size}x{size}x{net['channels']}",
        "smallest": f"{net['smallest_image_size_px']} px",
        "classes": str(net["num_classes"]),
        **_costs(net["parameters"], net["multiply_adds"]),
        "reference": net["reference"],
    }


def _costs(parameters: int, multiply_adds: int) -> dict[str, str]:
    """Cells of the costs, empty for 0."""
    return {
        "parameters": f"{parameters:,}" if parameters else "",
        "mult-adds": f"{multiply_adds / 1e6:,.2f} M" if multiply_adds else "",
    }

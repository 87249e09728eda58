"""slimline nets: the nets by name, and the layer table of one."""

from collections.abc import Sequence

import click

from slimline import tables
from slimline.terminal import options, output
from trainer.nets import geometry, registry
from trainer.nets.blocks import NetSpec
from trainer.nets.geometry import Row
from trainer.nets.primitives import Shape

_NETS_HEADER = (
    "net",
    "family",
    "input",
    "smallest",
    "classes",
    "parameters",
    "mult-adds",
    "reference",
)
_LAYERS_HEADER = ("layer", "what", "output", "parameters", "mult-adds")
_NUMBERS = ("smallest", "classes", "parameters", "mult-adds")


@click.command(short_help="List the nets, or show the layers of one.")
@click.argument("name", required=False, shell_complete=options.complete_nets)
@click.option(
    "--image-size",
    "image_size_px",
    type=click.IntRange(min=1),
    metavar="PX",
    help="Show NAME for images of so many px a side; the reference's by default.",
)
@click.option(
    "--channels",
    type=click.Choice(["1", "3"]),
    help="Show NAME for gray (1) or colour (3).",
)
@click.option(
    "--classes",
    "num_classes",
    type=click.IntRange(min=2),
    help="Show NAME for so many classes.",
)
@options.output_options
def command(
    name: str | None,
    image_size_px: int | None,
    channels: str | None,
    num_classes: int | None,
) -> output.Result:
    """List the nets, or show the layers of the one called NAME.

    Input, classes, parameters and multiply-adds (of one image) are those of the reference.
    A net takes any other number of classes, gray or colour, and any square from the
    smallest size up.
    """
    if name is not None:
        spec = registry.find(name)
        layers = geometry.layer_rows(
            spec,
            image_size_px=image_size_px,
            channels=int(channels) if channels else None,
            num_classes=num_classes,
        )
        text = _describe(spec, layers)
        shown = [
            tables.of_net(spec) | {"layers": [tables.of_layer(row) for row in layers]}
        ]
    elif image_size_px or channels or num_classes:
        raise click.UsageError(
            "--image-size, --channels and --classes need the NAME of a net"
        )
    else:
        rows = [_NETS_HEADER, *map(_net_row, registry.NETS.values())]
        text = output.columns(rows, _NUMBERS)
        shown = tables.of_nets()
    return output.Result(text, {"nets": shown})


def _describe(spec: NetSpec, layers: Sequence[Row]) -> str:
    """The facts of a net and its layer table."""
    smallest_px = geometry.smallest_input_px(spec)
    facts = [
        ("net", f"{spec.name}, family {spec.family}"),
        ("reference", spec.reference),
        ("smallest", f"{smallest_px} x {smallest_px} px"),
    ]
    rows = [_LAYERS_HEADER, *map(_layer_row, layers), _total(layers)]
    return f"{output.columns(facts)}\n\n{output.columns(rows, _NUMBERS)}"


def _net_row(spec: NetSpec) -> tuple[str, ...]:
    layers = geometry.layer_rows(spec)
    _, _, _, parameters, multiply_adds = _total(layers)
    return (
        spec.name,
        spec.family,
        _shape(layers[0].shape),
        f"{geometry.smallest_input_px(spec)} px",
        str(spec.num_classes),
        parameters,
        multiply_adds,
        spec.reference,
    )


def _layer_row(row: Row) -> tuple[str, ...]:
    return (
        row.name,
        row.description,
        _shape(row.shape),
        f"{row.cost.parameters:,}" if row.cost.parameters else "",
        _millions(row.cost.multiply_adds) if row.cost.multiply_adds else "",
    )


def _total(layers: Sequence[Row]) -> tuple[str, ...]:
    return (
        "total",
        "",
        "",
        f"{sum(row.cost.parameters for row in layers):,}",
        _millions(sum(row.cost.multiply_adds for row in layers)),
    )


def _shape(shape: Shape) -> str:
    return "x".join(map(str, shape))


def _millions(multiply_adds: int) -> str:
    return f"{multiply_adds / 1e6:,.2f} M"

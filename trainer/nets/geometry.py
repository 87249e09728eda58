"""Sizes of a net from its table alone, without a graph."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from common import errors
from trainer import lookup
from trainer.nets.blocks import NetSpec, fold, named
from trainer.nets.primitives import Shape, TooSmallError
from trainer.nets.sizes import Cost, Sizes, measure

LARGEST_TRIED_PX = 1024


@dataclass(frozen=True)
class Row:
    """A row of the layer table; `shape` is one image's, behind the block."""

    name: str
    description: str
    shape: Shape
    cost: Cost


def layer_rows(
    spec: NetSpec,
    *,
    image_size_px: int | None = None,
    channels: int | None = None,
    num_classes: int | None = None,
) -> list[Row]:
    """The layer table of a net, input first and logits last; the reference's by default.

    Raises:
      ConfigError: the image is too small for the net.
    """
    size_px = spec.image_size_px if image_size_px is None else image_size_px
    check_image_size(spec, size_px, size_px)
    shape: Shape = (size_px, size_px, spec.channels if channels is None else channels)
    rows = [Row("images", "input", shape, Cost())]
    for name, block in named(spec.blocks):
        shape, cost = measure(block, shape, spec.defaults)
        rows.append(Row(name, block.describe(), shape, cost))
    head = spec.logits(spec.num_classes if num_classes is None else num_classes)
    shape, cost = measure(head, shape, spec.defaults)
    return [*rows, Row("logits", "dense, linear", shape, cost)]


@cache
def smallest_input_px(spec: NetSpec) -> int:
    """Side of the smallest square image the net takes, in px.

    That is the smallest for which every window without padding fits its map and every
    stride has at least as many px to step over; below it a net would still run with SAME
    padding, but its last maps would be halvings of a single px.

    Raises:
      ValueError: no size up to `LARGEST_TRIED_PX` fits, so the table is wrong.
    """
    for size_px in range(1, LARGEST_TRIED_PX + 1):
        try:
            fold(spec.blocks, Sizes(spec.defaults), (size_px, size_px, spec.channels))
        except TooSmallError:
            continue
        return size_px
    raise ValueError(f"no input up to {LARGEST_TRIED_PX} px fits the net {spec.name!r}")


def depthwise_share(spec: NetSpec) -> float:
    """Share of a net's convolutions that are depthwise."""
    sizes = Sizes(spec.defaults)
    fold(spec.blocks, sizes, (spec.image_size_px, spec.image_size_px, spec.channels))
    return sizes.depthwise_convolutions / max(sizes.convolutions, 1)


def check_image_size(spec: NetSpec, height_px: int, width_px: int) -> None:
    """Raises ConfigError if an image of that size is too small for the net."""
    smallest_px = smallest_input_px(spec)
    if min(height_px, width_px) < smallest_px:
        raise errors.ConfigError(
            f"images of {height_px} x {width_px} px are too small for the net "
            f"{spec.name!r}",
            found=f"{height_px} x {width_px} px",
            expected=f"at least {smallest_px} x {smallest_px} px",
            tip=f"enlarge the images to {smallest_px} px or more, or take a net with fewer "
            "halvings",
        )


def is_row_of(name: str, rows: Sequence[str]) -> bool:
    """Whether the row `name` is one of `rows` or belongs to the group one of them names."""
    return any(name == row or name.startswith(f"{row}/") for row in rows)


def check_rows(spec: NetSpec, rows: Sequence[str]) -> None:
    """Raises ConfigError if the net has no row, or group of rows, of one of the names."""
    names = [*(name for name, _ in named(spec.blocks)), "logits"]
    groups = {name.partition("/")[0] for name in names}
    for row in rows:
        if not any(is_row_of(name, [row]) for name in names):
            near = lookup.nearest(row, [*names, *groups])
            guess = f"did you mean {near!r}? " if near else ""
            raise errors.ConfigError(
                f"the net {spec.name!r} has no row {row!r}",
                tip=f"{guess}slimline nets {spec.name} lists them",
            )

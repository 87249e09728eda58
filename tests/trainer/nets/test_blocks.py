import subprocess
import sys
from dataclasses import replace

import pytest

from common import errors
from trainer.nets import geometry
from trainer.nets.blocks import (
    Conv,
    Dense,
    DepthwiseConv,
    Flatten,
    GlobalPool,
    Mixed,
    NetSpec,
    Pool,
    Residual,
    SeparableConv,
    SqueezeExcite,
)
from trainer.nets.geometry import measure
from trainer.nets.primitives import Defaults, TooSmallError


def shape_behind(block, shape):
    return measure(block, shape, Defaults())[0]


def spec(*blocks, size_px=32):
    return NetSpec(
        "toy",
        family="toy",
        image_size_px=size_px,
        channels=3,
        num_classes=10,
        parameters=0,
        reference="none",
        blocks=blocks,
    )


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        (Conv(8, 3), (9, 12, 8)),
        (Conv(8, 3, 2), (5, 6, 8)),
        (Conv(8, 3, 2, "VALID"), (4, 5, 8)),
        (Conv(8, (1, 7), 1, "VALID"), (9, 6, 8)),
        (Conv(8, 5, 2, 2), (5, 6, 8)),
        (Conv(8, 2, 2, (1, 0)), (5, 6, 8)),
        (DepthwiseConv(3, 2, (0, 1), 3), (4, 6, 12)),
        (Pool("max", 3, 2, 1), (5, 6, 4)),
        (SqueezeExcite(2), (9, 12, 4)),
        (GlobalPool(keep_dims=True), (1, 1, 4)),
        (Residual((Conv(4, 3, 2, 1),), stride=2), (5, 6, 4)),
        (Residual((Conv(2, 3),), (Conv(2, 1),)), (9, 12, 2)),
        (SeparableConv(8, 7, 2, depth_multiplier=4), (5, 6, 8)),
        (Pool("max", 3, 2), (5, 6, 4)),
        (Pool("avg", 3, 2, "VALID"), (4, 5, 4)),
        (Mixed(((Conv(8, 1),), (), (Conv(2, 1), Conv(3, 3)))), (9, 12, 15)),
        (Residual((Conv(6, 3, 2, 1),), "pad_after", 2), (5, 6, 6)),
        (Residual((Conv(2, 3, 2, 1),), "projection", 2), (5, 6, 2)),
        (GlobalPool(), (4,)),
        (Flatten(), (432,)),
    ],
    ids=str,
)
def test_output_shape(block, expected):
    assert shape_behind(block, (9, 12, 4)) == expected


def test_dense_takes_units():
    assert shape_behind(Dense(5), (432,)) == (5,)


@pytest.mark.parametrize(
    "block",
    [
        Conv(8, 3, padding="VALID"),
        Conv(8, 7, padding=2),
        Pool("max", 1, 3),
        Mixed(((Conv(8, 1),), (Pool("max", 2, 2),))),
    ],
    ids=str,
)
def test_too_small(block):
    with pytest.raises(TooSmallError):
        shape_behind(block, (2, 2, 4))


@pytest.mark.parametrize(
    "block",
    [
        Residual((Conv(8, 3),)),
        Residual((Conv(3, 3),), "pad_after"),
        Residual((Conv(4, 3, 2, 1),)),
    ],
    ids=str,
)
def test_a_shortcut_that_does_not_fit_is_a_fault_of_the_table(block):
    with pytest.raises(ValueError, match="does not fit the body") as info:
        shape_behind(block, (8, 8, 4))
    assert not isinstance(info.value, TooSmallError)


@pytest.mark.parametrize(
    ("blocks", "smallest"),
    [
        ((Conv(4, 3),), 1),
        ((Conv(4, 3, 2),), 2),
        ((Conv(4, 3, 2), Conv(4, 3, 2)), 3),
        ((Conv(4, 5, padding="VALID"), Pool("max", 2, 2), Conv(4, 5, 1, "VALID")), 13),
        ((Mixed(((Conv(4, (1, 7), 1, "VALID"), Conv(4, (7, 1), 1, "VALID")),)),), 7),
    ],
)
def test_smallest_input(blocks, smallest):
    assert geometry.smallest_input_px(spec(*blocks)) == smallest


def test_a_table_that_fits_nothing():
    impossible = spec(Mixed(((Conv(8, 1),), (Conv(8, 3, padding="VALID"),))))
    with pytest.raises(ValueError, match="no input up to 1024 px fits the net 'toy'"):
        geometry.smallest_input_px(impossible)


def test_layer_rows():
    table = spec(Conv(4, 3, 2, name="conv1"), Pool("max", 3), GlobalPool(name="pool"))
    rows = geometry.layer_rows(table, image_size_px=8, channels=1, num_classes=5)
    assert [(row.name, row.description, row.shape) for row in rows] == [
        ("images", "input", (8, 8, 1)),
        ("conv1", "conv 3x3 /2", (4, 4, 4)),
        ("pool_2", "max pool 3x3", (4, 4, 4)),
        ("pool", "global average pool", (4,)),
        ("logits", "dense, linear", (5,)),
    ]
    assert geometry.layer_rows(table)[0].shape == (32, 32, 3)
    with pytest.raises(errors.ConfigError, match="too small for the net 'toy'"):
        geometry.layer_rows(table, image_size_px=1)


def test_specs_are_values():
    table = spec(Conv(4, 3))
    assert table == replace(table)
    assert hash(table) == hash(replace(table))


def test_tables_do_not_load_tensorflow():
    code = (
        "import sys; from trainer.nets import geometry, registry; "
        "geometry.layer_rows(registry.find('inception_v2')); "
        "sys.exit('tensorflow' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

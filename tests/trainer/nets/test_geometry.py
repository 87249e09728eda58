import pytest

from trainer.nets.blocks import (
    BatchNorm,
    Conv,
    Dense,
    DepthwiseConv,
    Dropout,
    Flatten,
    GlobalPool,
    Mixed,
    Pool,
    Residual,
    SeparableConv,
    SqueezeExcite,
)
from trainer.nets.geometry import Cost, measure
from trainer.nets.primitives import Defaults

PLAIN = Defaults(norm=False)


@pytest.mark.parametrize(
    ("block", "parameters", "multiply_adds"),
    [
        (Conv(5, 3), 3 * 3 * 2 * 5 + 5, 3 * 3 * 2 * 5 * 8 * 6),
        (Conv(5, 3, 2, "VALID"), 3 * 3 * 2 * 5 + 5, 3 * 3 * 2 * 5 * 3 * 2),
        (Conv(5, (1, 7), bias=False), 7 * 2 * 5, 7 * 2 * 5 * 8 * 6),
        (Conv(5, 1, norm=True), 10 + 10, 10 * 8 * 6),
        (Conv(5, 1, norm=True, bias=True), 10 + 10 + 5, 10 * 8 * 6),
        (
            SeparableConv(5, 3, 2, depth_multiplier=4),
            3 * 3 * 8 + 8 * 5 + 5,
            (3 * 3 * 8 + 8 * 5) * 4 * 3,
        ),
        (DepthwiseConv(3, 2), 3 * 3 * 2 + 2, 3 * 3 * 2 * 4 * 3),
        (DepthwiseConv(3, multiplier=2, norm=True), 36 + 8, 36 * 8 * 6),
        (SqueezeExcite(5), (2 * 5 + 5) + (5 * 2 + 2), 20),
        (Mixed(((Conv(5, 1),), (Conv(3, 1), Conv(4, 1)))), 15 + 9 + 16, 28 * 48),
        (Residual((Conv(2, 1),)), 6, 4 * 48),
        (Residual((Conv(3, 1, 2),), "projection", 2), 18, 12 * 12),
        (Dense(7), 2 * 7 + 7, 14 * 48),
        (BatchNorm(), 4, 0),
        (Pool("max", 2), 0, 0),
        (GlobalPool(), 0, 0),
        (Flatten(), 0, 0),
        (Dropout(0.5), 0, 0),
    ],
    ids=str,
)
def test_by_hand(block, parameters, multiply_adds):
    """Over 8 x 6 px of two channels."""
    assert measure(block, (8, 6, 2), PLAIN)[1] == Cost(parameters, multiply_adds)


def test_batch_norm_without_scale_has_one_parameter_a_channel():
    defaults = Defaults(norm_scale=False)
    assert measure(BatchNorm(), (8, 6, 2), defaults)[1].parameters == 2
    assert measure(Conv(5, 1), (8, 6, 2), defaults)[1].parameters == 10 + 5

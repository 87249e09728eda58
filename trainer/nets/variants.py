"""Applies the settings of a model to the table of a net."""

from dataclasses import replace

from trainer.config import ModelConfig
from trainer.nets import registry
from trainer.nets.blocks import BatchNorm, NetSpec, Scale
from trainer.nets.primitives import WeightInit

# Row in front of the class layer.
LOGITS_SCALE = "logits_scale"


def spec_of(model: ModelConfig) -> NetSpec:
    """The net called `model.net` with the settings of `model`.

    Without batch norm, layers have a bias in its place. `parameters` stays the published
    count, which a setting may change.

    Raises:
      ConfigError: there is no such net; the error names the nearest.
    """
    spec = registry.find(model.net)
    defaults = replace(
        spec.defaults, conv_impl=model.conv_impl, allows_norm=model.batch_norm
    )
    if model.activation:
        defaults = replace(defaults, activation=model.activation)
    if model.weight_init:
        defaults = replace(defaults, weight_init=WeightInit(model.weight_init))
    if model.residual_scale:
        defaults = replace(defaults, residual_scale=model.residual_scale)
    rows = tuple(
        block
        for block in spec.blocks
        if model.batch_norm or not isinstance(block, BatchNorm)
    )
    if model.logits_scale:
        others = (row for row in rows if row.name != LOGITS_SCALE)
        rows = (*others, Scale(model.logits_scale, name=LOGITS_SCALE))
    return replace(spec, defaults=defaults, blocks=rows)

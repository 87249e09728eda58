"""The switches of the configuration, applied to the table of a net."""

from dataclasses import replace

from trainer.config import ModelConfig
from trainer.nets import registry
from trainer.nets.blocks import BatchNorm, Block, Mixed, NetSpec, Residual, Weighted


def spec_of(model: ModelConfig) -> NetSpec:
    """The net called `model.net` with the switches of `model`.

    `parameters` stays the published count, which a switch may change.

    Raises:
      ConfigError: there is no such net; the nearest is named.
    """
    spec = registry.find(model.net)
    if not model.batch_norm:
        spec = without_batch_norm(spec)
    defaults = replace(spec.defaults, conv_impl=model.conv_impl)
    if model.residual_scale:
        defaults = replace(defaults, residual_scale=model.residual_scale)
    return replace(spec, defaults=defaults)


def without_batch_norm(spec: NetSpec) -> NetSpec:
    """The same net with every batch norm taken out.

    Where a layer's bias was left out because batch norm has one, it comes back.
    """
    return replace(
        spec,
        blocks=_without_norm(spec.blocks),
        defaults=replace(spec.defaults, norm=False),
    )


def _without_norm(blocks: tuple[Block, ...]) -> tuple[Block, ...]:
    return tuple(
        _stripped(block) for block in blocks if not isinstance(block, BatchNorm)
    )


def _stripped(block: Block) -> Block:
    if isinstance(block, Weighted):
        return replace(block, norm=None)
    if isinstance(block, Mixed):
        return replace(block, branches=tuple(map(_without_norm, block.branches)))
    if isinstance(block, Residual):
        return replace(block, body=_without_norm(block.body))
    return block

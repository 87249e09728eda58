"""How published weights of a net name its tensors, and which images they expect."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from trainer.config import PreprocessingConfig

# Order of axes and last part of a tensor's name: tf-slim's checkpoints, Keras, PyTorch.
Layout = Literal["slim", "keras", "pytorch"]


@dataclass(frozen=True)
class Source:
    """One published form of a net's weights.

    A foreign name becomes ours in two steps. The layout decides the last part: PyTorch's
    `_bn1.running_mean` becomes `_bn1/BatchNorm/moving_mean`, Keras's `conv1/kernel` becomes
    `conv1/weights`. Then each rule is applied in turn with `re.sub` to the whole name, and
    the result is the name of a variable below the net's scope, as in
    `block1a/depthwise/BatchNorm/moving_mean`.

    Attributes:
      layout: order of the axes and names of the last part.
      origin: who publishes weights in this form, for messages.
      rules: pairs of a regular expression and its replacement.
      ignored: regular expressions of foreign names, before any step, that belong to no layer
        of the net, such as auxiliary classifiers.
      preprocessing: the images that these weights expect.
      reversed_channels: the first convolution expects blue, green, red; its weights are
        turned round when they are imported.
      flattened_maps: shape (height, width, channels) of the maps in front of the first dense
        layer where the source flattens channels first; empty elsewhere.
    """

    layout: Layout
    origin: str
    rules: tuple[tuple[str, str], ...]
    preprocessing: PreprocessingConfig
    ignored: tuple[str, ...] = ()
    reversed_channels: bool = False
    flattened_maps: tuple[int, ...] = ()

"""Published weights: how they name the tensors of a net, and which images they expect."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from trainer.config import PreprocessingConfig
from trainer.nets.primitives import HE_NORMAL, Defaults

# Order of axes and last part of a tensor's name: tf-slim's checkpoints, Keras, PyTorch.
Layout = Literal["slim", "keras", "pytorch"]
# A regular expression and its replacement.
Rule = tuple[str, str]
# Mean and deviation of pixels: what torchvision and others use for ImageNet, by channel,
# and what brings 0..255 to -1..1.
IMAGENET = ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375))
HALF = ((127.5,), (127.5,))


@dataclass(frozen=True)
class Source:
    """One published form of a net's weights.

    A foreign name becomes ours in two steps. The layout decides the last part: PyTorch's
    `_bn1.running_mean` becomes `_bn1/BatchNorm/moving_mean`, Keras's `conv1/kernel` becomes
    `conv1/weights`. Then `renamed` applies each rule in turn with `re.sub` to the whole
    name; the result is the name of a variable below the net's scope, as in
    `block1a/depthwise/BatchNorm/moving_mean`.

    Where the rules leave a number in angle brackets, it becomes stage and unit as in
    `block1a`: `block<3>` is the fourth unit of the net, `block<2.0>` the first of the third
    stage, both `block3a` in a net of 1, 2 and more units.

    Attributes:
      layout: order of the axes and names of the last part.
      origin: publisher of weights in this form, for messages.
      rules: pairs of a regular expression and its replacement.
      ignored: regular expressions of foreign names that belong to no layer of the net, such
        as auxiliary classifiers.
      ordered: regular expression of renamed layers that only their order tells apart:
        Keras's `conv2d_7`, whose count may start anywhere, or tf-slim's
        `Mixed_5b/Branch_1/Conv2d_0a_1x1`. Sorted by name, numbers by value, they are the
        layers of the net that no other name reaches, in the order of the graph; weights,
        biases and the parts of batch norm separately.
      preprocessing: the images that these weights expect.
      reversed_channels: the first convolution expects blue, green, red; the import reverses
        its weights.
      flattened_maps: shape (height, width, channels) of the maps in front of the first dense
        layer where the source flattens channels first; else empty.
      stages: number of units of each stage; the net's table sets it.
    """

    layout: Layout
    origin: str
    rules: tuple[Rule, ...]
    preprocessing: PreprocessingConfig
    ignored: tuple[str, ...] = ()
    ordered: str = ""
    reversed_channels: bool = False
    flattened_maps: tuple[int, ...] = ()
    stages: tuple[int, ...] = ()

    def renamed(self, name: str) -> str:
        """Our name of a variable, from that which the layout made of a foreign one."""
        for pattern, replacement in self.rules:
            name = re.sub(pattern, replacement, name)
        return re.sub(r"<(\d{1,3})(?:\.(\d{1,3}))?>", self._place, name)

    def _place(self, numbers: re.Match[str]) -> str:
        places = [
            (stage, unit)
            for stage, units in enumerate(self.stages)
            for unit in range(units)
        ]
        first, second = numbers.groups()
        if second is not None:
            place = (int(first), int(second))
        elif int(first) < len(places):
            place = places[int(first)]
        else:
            return numbers[0]
        stage, unit = place
        return f"{stage + 1}{chr(ord('a') + unit)}" if place in places else numbers[0]


def fixed(
    resize_px: int,
    crop_px: int,
    mean: tuple[float, ...],
    deviation: tuple[float, ...],
    interpolation: Literal["bilinear", "bicubic"] = "bicubic",
) -> PreprocessingConfig:
    """Images of `crop_px` a side, standardised by fixed numbers."""
    return PreprocessingConfig(
        resize_px,
        crop_px,
        interpolation=interpolation,
        standardise="fixed",
        mean=mean,
        deviation=deviation,
    )


# Means of red, green and blue over ImageNet's pixels.
MEANS = (123.68, 116.779, 103.939)
# A crop of 7/8 of the shorter side, as in the evaluations of all of them.
MEANS_224 = fixed(256, 224, MEANS, (1.0,), "bilinear")
IMAGENET_224 = fixed(256, 224, *IMAGENET, "bilinear")
ONES_224 = PreprocessingConfig(256, 224, standardise="minus_one_to_one")
ONES_299 = PreprocessingConfig(342, 299, standardise="minus_one_to_one")
# tf-slim's Inception nets: the next convolution can scale, so batch norm has no factors.
INCEPTION = Defaults(HE_NORMAL, norm_decay=0.9997, norm_epsilon=0.001, norm_scale=False)


def inception_source(
    scope: str, images: PreprocessingConfig, rules: tuple[Rule, ...] = ()
) -> Source:
    """Names as `InceptionV3/Mixed_5b/Branch_1/Conv2d_0a_1x1/weights`.

    In their order they are the layers of the table, once `rules` have put the scopes that
    are out of order in their place; scopes of branches and layers may have any number.
    """
    return Source(
        "slim",
        "tf-slim",
        ((rf"^{scope}/Logits/[^/]+/", "logits/"), *rules),
        images,
        ignored=(rf"^{scope}/AuxLogits/",),
        ordered=f"{scope}/.*",
    )

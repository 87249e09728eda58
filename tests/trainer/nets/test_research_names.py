"""Names of the research nets published with tf-slim, whose code no package holds.

Each of their scopes is written here beside the layer of ours that it belongs to. The size of
the kernel, which ends a scope, must be that of our layer: 1x7 and 7x1 change places easily.
"""

import re

import numpy as np
import pytest

from trainer.nets import registry
from trainer.weights import mapping, opening

CLASSES = 5
LETTERS = "abcde"


def module(theirs: str, ours: str, *branches: str) -> dict[str, str]:
    """Layers of a module by scope; a branch is given as its kernels, 'p' for a pool first.

    Scopes of layers have letters, from a on; a last layer that halves has 1a, one layer
    alone in a residual unit none. '|' stands before layers side by side.
    """
    found = {}
    for place, branch in enumerate(branches):
        chain, _, split = branch.partition("|")
        kernels = chain.split()
        scope, layer = f"{theirs}/Branch_{place}", f"{ours}/branch_{place + 1}"
        for number, kernel in enumerate(kernels):
            if kernel == "p":
                continue
            name = f"0{LETTERS[number]}_"
            if kernel.startswith("/"):
                name = "1a_"
            elif kernel.startswith("."):
                name = ""
            size = kernel.strip("/.")
            found[f"{scope}/Conv2d_{name}{size}"] = f"{layer}/conv_{number + 1}"
        for side, size in enumerate(split.split()):
            name = f"0{LETTERS[len(kernels) + side]}_{size}"
            inside = f"mixed_{len(kernels) + 1}/branch_{side + 1}/conv_1"
            found[f"{scope}/Conv2d_{name}"] = f"{layer}/{inside}"
    return found


STEM = {
    "Conv2d_1a_3x3": "1a",
    "Conv2d_2a_3x3": "2a",
    "Conv2d_2b_3x3": "2b",
}
V4 = STEM | module("Mixed_3a", "3a", "p", "3x3")
V4 |= module("Mixed_4a", "4a", "1x1 /3x3", "1x1 1x7 7x1 /3x3")
V4 |= module("Mixed_5a", "5a", "/3x3", "p")
for letter in "bcde":
    branches = ("1x1", "1x1 3x3", "1x1 3x3 3x3", "p 1x1")
    V4 |= module(f"Mixed_5{letter}", f"5{letter}", *branches)
V4 |= module("Mixed_6a", "6a", "/3x3", "1x1 3x3 /3x3", "p")
for letter in "bcdefgh":
    branches = ("1x1", "1x1 1x7 7x1", "1x1 7x1 1x7 7x1 1x7", "p 1x1")
    V4 |= module(f"Mixed_6{letter}", f"6{letter}", *branches)
V4 |= module("Mixed_7a", "7a", "1x1 /3x3", "1x1 1x7 7x1 /3x3", "p")
for letter in "bcd":
    branches = ("1x1", "1x1 | 1x3 3x1", "1x1 3x1 1x3 | 1x3 3x1", "p 1x1")
    V4 |= module(f"Mixed_7{letter}", f"7{letter}", *branches)

RESNET_V2 = STEM | {"Conv2d_3b_1x1": "3b", "Conv2d_4a_3x3": "4a"}
RESNET_V2 |= module("Mixed_5b", "5b", ".1x1", "1x1 5x5", "1x1 3x3 3x3", "p 1x1")
RESNET_V2 |= module("Mixed_6a", "6a", "/3x3", "1x1 3x3 /3x3", "p")
RESNET_V2 |= module("Mixed_7a", "7a", "1x1 /3x3", "1x1 /3x3", "1x1 3x3 /3x3", "p")
RESNET_V2["Conv2d_7b_1x1"] = "conv_7b"
UNITS = {
    **{f"Repeat/block35_{n}": f"block35_{n}" for n in range(1, 11)},
    **{f"Repeat_1/block17_{n}": f"block17_{n}" for n in range(1, 21)},
    **{f"Repeat_2/block8_{n}": f"block8_{n}" for n in range(1, 10)},
    "Block8": "block8_10",
}
BRANCHES = {
    "block35": (".1x1", "1x1 3x3", "1x1 3x3 3x3"),
    "block17": (".1x1", "1x1 1x7 7x1"),
    "block8": (".1x1", "1x1 1x3 3x1"),
}
for theirs, ours in UNITS.items():
    RESNET_V2 |= module(theirs, f"{ours}/mixed", *BRANCHES[ours.partition("_")[0]])
    RESNET_V2[f"{theirs}/Conv2d_1x1"] = f"{ours}/conv"

NETS = {
    "inception_v4_slim": ("InceptionV4", V4),
    "inception_resnet_v2_slim": ("InceptionResnetV2", RESNET_V2),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(NETS))
def test_names(name):
    scope, layers = NETS[name]
    spec = registry.find(name)
    shapes = mapping.expected_shapes(spec, CLASSES)
    scopes = {ours: f"{scope}/{theirs}" for theirs, ours in layers.items()}
    scopes["logits"] = f"{scope}/Logits/Logits"
    foreign, expected = {}, {}
    for place, (variable, shape) in enumerate(shapes.items()):
        layer, kind = re.fullmatch(r"(.*?)/((?:BatchNorm/)?\w+)", variable).groups()
        size = re.search(r"_(\d)x(\d)$", scopes[layer])
        if size and kind == "weights":
            assert tuple(map(int, size.groups())) == shape[:2], scopes[layer]
        value = np.full(shape, place, np.float32)
        foreign[f"{scopes[layer]}/{kind}"] = expected[f"{name}/{variable}"] = value
    foreign[f"{scope}/AuxLogits/Conv2d_1b_1x1/weights"] = np.zeros((1, 1, 8, 8))
    mapped = mapping.convert(opening.Opened(foreign, "tf_checkpoint", ""), spec)
    assert mapped.num_classes == CLASSES
    assert mapped.arrays.keys() == expected.keys()
    for variable, value in expected.items():
        assert mapped.arrays[variable].flat[0] == value.flat[0], variable

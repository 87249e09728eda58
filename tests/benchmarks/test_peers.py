"""The peers' nets have the trainable parameters of ours."""

import os
import pathlib
import subprocess

import keras
import numpy as np
import pytest
import train_step
from peers import keras_nets

from trainer.nets import builder, registry

ROOT = pathlib.Path(__file__).parents[2]
# Of every kind of block one; hw_net has batch norm and activations of their own.
QUICK = {"resnet_20", "hw_net"}
NETS = ("resnet_20", "resnet_50", "inception_v2", "hw_net", "mobilenet_v3_large")

COUNT = """
import sys
from peers import torch_nets
from trainer.nets import registry
for name in sys.argv[1:]:
    spec = registry.find(name)
    size_px, num_classes = spec.image_size_px, spec.num_classes
    net = torch_nets.build(spec, num_classes=num_classes, image_size_px=size_px)
    print(name, torch_nets.count_trainable(net))
"""


def test_the_default_nets_are_compared() -> None:
    assert set(train_step.DEFAULT_NETS) <= set(NETS)


@pytest.mark.parametrize(
    "net",
    [
        pytest.param(net, marks=() if net in QUICK else pytest.mark.nightly)
        for net in NETS
    ],
)
def test_keras_net_has_our_parameters(net: str) -> None:
    spec = registry.find(net)
    model = keras_nets.build(
        keras,
        spec,
        num_classes=spec.num_classes,
        image_size_px=spec.image_size_px,
        weight_decay=1e-4,
    )
    counts = [int(np.prod(weight.shape)) for weight in model.trainable_weights]
    assert sum(counts) == builder.count_parameters(spec)
    assert model.output_shape == (None, spec.num_classes)


def test_torch_nets_have_our_parameters() -> None:
    if not train_step.PEERS_PYTHON.exists():
        pytest.skip("PyTorch is not installed; `make bench-peers` installs it")
    counted = subprocess.run(
        [str(train_step.PEERS_PYTHON), "-c", COUNT, *NETS],
        env=os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'benchmarks'}"},
        capture_output=True,
        text=True,
        check=True,
    )
    expected = [f"{net} {registry.find(net).parameters}" for net in NETS]
    assert counted.stdout.splitlines() == expected

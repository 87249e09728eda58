"""Names of published weights become those of our variables."""

import pytest

from trainer.nets import registry
from trainer.nets.published import HALF, IMAGENET, Source, fixed

WITH_SOURCES = sorted(name for name, spec in registry.NETS.items() if spec.sources)


def source_of(net, origin):
    (source,) = (s for s in registry.find(net).sources if s.origin.startswith(origin))
    return source


@pytest.fixture(scope="module")
def variables(native_net):
    """Function name of a net -> the names of its variables below its scope."""
    return lambda net: {name.removeprefix(f"{net}/") for name in native_net(net).names}


# After the first step, which the layout decides.
NAMES = [
    ("efficientnet_lite0", "efficientnet-lite0", "_conv_stem/weights", "stem/weights"),
    (
        "efficientnet_lite0",
        "efficientnet-lite0",
        "_bn0/BatchNorm/beta",
        "stem/BatchNorm/beta",
    ),
    (
        "efficientnet_lite0",
        "efficientnet-lite0",
        "_blocks/0/_bn1/BatchNorm/moving_mean",
        "block1a/depthwise/BatchNorm/moving_mean",
    ),
    (
        "efficientnet_lite0",
        "efficientnet-lite0",
        "_blocks/15/_expand_conv/weights",
        "block7a/expand/weights",
    ),
    (
        "efficientnet_lite0",
        "efficientnet-lite0",
        "_blocks/4/_depthwise_conv/depthwise_weights",
        "block3b/depthwise/depthwise_weights",
    ),
    ("efficientnet_lite0", "efficientnet-lite0", "_fc/biases", "logits/biases"),
    (
        "efficientnet_lite0",
        "efficientnet-lite0",
        "_bn1/BatchNorm/gamma",
        "head/BatchNorm/gamma",
    ),
    (
        "efficientnet_b0",
        "lukemelas",
        "_blocks/3/_se_expand/biases",
        "block3a/squeeze/expand/biases",
    ),
    (
        "efficientnet_lite4",
        "timm",
        "blocks/5/7/bn3/BatchNorm/beta",
        "block6h/project/BatchNorm/beta",
    ),
    (
        "efficientnet_lite4",
        "timm",
        "blocks/0/0/conv_pw/weights",
        "block1a/project/weights",
    ),
    (
        "efficientnet_lite4",
        "timm",
        "blocks/0/0/bn1/BatchNorm/beta",
        "block1a/depthwise/BatchNorm/beta",
    ),
    (
        "efficientnet_lite4",
        "timm",
        "blocks/1/0/conv_pw/weights",
        "block2a/expand/weights",
    ),
    (
        "efficientnet_b0",
        "timm",
        "blocks/0/0/se/conv_reduce/weights",
        "block1a/squeeze/reduce/weights",
    ),
    ("efficientnet_b0", "timm", "classifier/weights", "logits/weights"),
    (
        "mobilenet_v1_025",
        "tensorflow",
        "MobilenetV1/Conv2d_1_depthwise/depthwise_weights",
        "block1/depthwise/depthwise_weights",
    ),
    (
        "mobilenet_v1",
        "tensorflow",
        "MobilenetV1/Conv2d_13_pointwise/BatchNorm/gamma",
        "block13/pointwise/BatchNorm/gamma",
    ),
    (
        "mobilenet_v1",
        "tensorflow",
        "MobilenetV1/Logits/Conv2d_1c_1x1/biases",
        "logits/biases",
    ),
    (
        "mobilenet_v2",
        "tensorflow",
        "MobilenetV2/expanded_conv_3/expand/weights",
        "block3/expand/weights",
    ),
    (
        "mobilenet_v2",
        "tensorflow",
        "MobilenetV2/expanded_conv/project/BatchNorm/beta",
        "block0/project/BatchNorm/beta",
    ),
    (
        "mobilenet_v2",
        "tensorflow",
        "MobilenetV2/Conv_1/BatchNorm/moving_mean",
        "head/BatchNorm/moving_mean",
    ),
    (
        "mobilenet_v3_large",
        "tensorflow",
        "MobilenetV3/expanded_conv_3/squeeze_excite/Conv_1/biases",
        "block3/squeeze/expand/biases",
    ),
    (
        "mobilenet_v3_large",
        "tensorflow",
        "MobilenetV3/expanded_conv/depthwise/depthwise_weights",
        "block0/depthwise/depthwise_weights",
    ),
    (
        "mobilenet_v3_large",
        "tensorflow",
        "MobilenetV3/Logits/Conv2d_1c_1x1/weights",
        "logits/weights",
    ),
    (
        "mobilenet_v3_large",
        "keras",
        "Conv/BatchNorm/BatchNorm/gamma",
        "stem/BatchNorm/gamma",
    ),
    ("mobilenet_v3_large", "keras", "Logits/biases", "logits/biases"),
    ("efficientnet_b0", "timm", "bn2/BatchNorm/gamma", "head/BatchNorm/gamma"),
    # Its sister with fewer units is compared in test_slim_peers.py.
    (
        "resnet_v1_101",
        "tf-slim",
        "resnet_v1_101/block3/unit_23/bottleneck_v1/conv3/BatchNorm/beta",
        "group3/unit23/conv_3/BatchNorm/beta",
    ),
    (
        "resnet_v1_101",
        "tf-slim",
        "resnet_v1_101/block4/unit_1/bottleneck_v1/shortcut/weights",
        "group4/unit1/shortcut/weights",
    ),
    ("resnet_v1_101", "tf-slim", "resnet_v1_101/conv1/weights", "conv1/weights"),
    ("resnet_v1_101", "tf-slim", "resnet_v1_101/logits/biases", "logits/biases"),
]


@pytest.mark.parametrize(
    ("net", "origin", "name", "ours"), NAMES, ids=lambda value: str(value)
)
def test_names(net, origin, name, ours):
    assert source_of(net, origin).renamed(name) == ours


# Those that take long to build have the rows of one that does not.
DEEP = {"efficientnet_lite4", "mobilenet_v1", "mobilenet_v2", "resnet_v1_101"}


@pytest.mark.parametrize(
    "net",
    [
        pytest.param(net, marks=pytest.mark.nightly if net in DEEP else ())
        for net in sorted({net for net, *_ in NAMES})
    ],
)
def test_they_are_names_of_our_variables(net, variables):
    assert {ours for name, _, _, ours in NAMES if name == net} <= variables(net)


def test_places_of_units():
    source = Source(
        "slim",
        "nobody",
        ((r"^unit(\d+)", r"block<\1>"), (r"^stage(\d+)_(\d+)", r"block<\1.\2>")),
        fixed(8, 8, *HALF),
        stages=(1, 3, 2),
    )
    renamed = [source.renamed(f"unit{number}") for number in range(6)]
    assert renamed == ["block1a", "block2a", "block2b", "block2c", "block3a", "block3b"]
    assert source.renamed("stage1_2/weights") == "block2c/weights"
    # What is not there stays to be seen, and to be left over.
    for name in ("unit6", "stage0_1", "stage3_0", f"unit{10**30}"):
        assert "<" in source.renamed(name)


def test_fixed_images():
    images = fixed(256, 224, *IMAGENET, "bilinear")
    assert (images.resize_px, images.crop_px) == (256, 224)
    assert images.standardise == "fixed"
    assert images.interpolation == "bilinear"
    assert len(images.mean) == len(images.deviation) == 3


@pytest.mark.parametrize("net", WITH_SOURCES)
def test_images_of_a_source_fit_the_net(net):
    spec = registry.find(net)
    origins = [source.origin for source in spec.sources]
    assert len(set(origins)) == len(origins)
    for source in spec.sources:
        assert source.preprocessing.crop_px == spec.image_size_px
        assert source.preprocessing.channels == spec.channels

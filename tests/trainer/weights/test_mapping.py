"""Foreign tensors become our variables; outputs, not only shapes, are compared."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from common.errors import ConfigError
from trainer.config import PreprocessingConfig
from trainer.nets import registry
from trainer.nets.blocks import Conv, Dense, Flatten, NetSpec, SeparableConv
from trainer.nets.published import Source
from trainer.weights import mapping, opening

v1 = tf.compat.v1

CHAIN = NetSpec(
    "chain",
    family="test",
    image_size_px=8,
    channels=3,
    num_classes=5,
    parameters=0,
    reference="",
    blocks=(
        Conv(4, 3, name="stem"),
        SeparableConv(6, 3, stride=2, name="light", norm=False),
        Conv(8, 1, name="block/last"),
        Flatten(),
        Dense(7, name="dense", norm=False),
    ),
)


def with_source(spec: NetSpec, layout: str, **changes) -> NetSpec:
    source = Source(layout, layout, (), PreprocessingConfig())
    return dataclasses.replace(
        spec, sources=(*spec.sources, dataclasses.replace(source, **changes))
    )


def values_of(spec: NetSpec, classes: int = 5) -> dict[str, np.ndarray]:
    """Random values of all variables by their name below the scope."""
    random = np.random.default_rng(3)
    return {
        name: random.uniform(0.5, 1, shape).astype(np.float32)
        for name, shape in mapping.expected_shapes(spec, classes).items()
    }


def as_pytorch(values: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The inverse of the import, written independently of it."""
    lasts = {
        "BatchNorm/gamma": "weight",
        "BatchNorm/beta": "bias",
        "BatchNorm/moving_mean": "running_mean",
        "BatchNorm/moving_variance": "running_var",
        "depthwise_weights": "0.weight",
        "pointwise_weights": "1.weight",
        "weights": "weight",
        "biases": "bias",
    }
    foreign = {}
    for name, value in values.items():
        last = next(last for last in lasts if name.endswith(f"/{last}"))
        layer = name.removesuffix(f"/{last}").replace("/", ".")
        if last.startswith("BatchNorm"):
            layer = f"{layer}_bn"
        if last == "depthwise_weights":
            height, width, channels, multiplier = value.shape
            value = value.reshape(height, width, 1, channels * multiplier)
        if value.ndim == 4:
            value = np.moveaxis(value, (3, 2), (0, 1))
        elif value.ndim == 2:
            value = value.T
        foreign[f"{layer}.{lasts[last]}"] = value
        if last.endswith("mean"):
            foreign[f"{layer}.num_batches_tracked"] = np.array(7)
    return foreign


PYTORCH_RULES = (
    (r"_bn/", "/"),
    (r"light/0/", "light/"),
    (r"light/1/weights", "light/pointwise_weights"),
)


def opened(tensors: dict[str, np.ndarray], form: str = "pytorch") -> opening.Opened:
    return opening.Opened(tensors, form, "0")


def test_pytorch_layout_comes_back() -> None:
    spec = with_source(CHAIN, "pytorch", rules=PYTORCH_RULES)
    values = values_of(spec)
    mapped = mapping.convert(opened(as_pytorch(values)), spec)
    assert mapped.num_classes == 5
    assert mapped.arrays.keys() == {f"chain/{name}" for name in values}
    for name, value in values.items():
        np.testing.assert_array_equal(mapped.arrays[f"chain/{name}"], value, name)


def test_flattened_maps_turn_the_rows_of_the_first_dense_layer() -> None:
    spec = with_source(CHAIN, "pytorch", rules=PYTORCH_RULES, flattened_maps=(4, 4, 8))
    values = values_of(spec)
    foreign = as_pytorch(values)
    # PyTorch flattens channels first.
    rows = values["dense/weights"].reshape(4, 4, 8, 7)
    foreign["dense.weight"] = rows.transpose(3, 2, 0, 1).reshape(7, -1)
    mapped = mapping.convert(opened(foreign), spec)
    for name, value in values.items():
        np.testing.assert_array_equal(mapped.arrays[f"chain/{name}"], value, name)


def test_reversed_channels_turn_the_first_convolution() -> None:
    spec = with_source(CHAIN, "pytorch", rules=PYTORCH_RULES, reversed_channels=True)
    values = values_of(spec)
    mapped = mapping.convert(opened(as_pytorch(values)), spec)
    stem = mapped.arrays["chain/stem/weights"]
    np.testing.assert_array_equal(stem, values["stem/weights"][:, :, ::-1])
    last = mapped.arrays["chain/block/last/weights"]
    np.testing.assert_array_equal(last, values["block/last/weights"])


def test_a_convolution_as_class_layer_becomes_a_matrix() -> None:
    spec = with_source(CHAIN, "slim")
    values = values_of(spec)
    foreign = dict(values)
    foreign["logits/weights"] = values["logits/weights"][None, None]
    mapped = mapping.convert(opened(foreign, "tf_checkpoint"), spec)
    np.testing.assert_array_equal(
        mapped.arrays["chain/logits/weights"], values["logits/weights"]
    )


def test_a_file_without_class_layer() -> None:
    spec = with_source(CHAIN, "slim")
    values = values_of(spec)
    body = {name: value for name, value in values.items() if "logits" not in name}
    mapped = mapping.convert(opened(body, "tf_checkpoint"), spec)
    assert mapped.num_classes == 0
    assert mapped.arrays.keys() == {f"chain/{name}" for name in body}


def test_what_is_missing_left_over_and_misshapen_is_named() -> None:
    spec = with_source(CHAIN, "slim", ignored=("^aux/",))
    foreign = values_of(spec)
    foreign["other/weights"] = foreign.pop("stem/weights")
    foreign["dense/biases"] = np.zeros(3, np.float32)
    foreign["aux/weights"] = np.zeros(3, np.float32)
    with pytest.raises(ConfigError, match="not those of the net 'chain'") as info:
        mapping.convert(opened(foreign, "tf_checkpoint"), spec)
    assert info.value.found == (
        "1 missing: stem/weights; 1 left over: other/weights;"
        " 1 misshapen: dense/biases 3, dense/biases 7"
    )


def test_part_of_a_class_layer_is_missing_the_rest() -> None:
    spec = with_source(CHAIN, "slim")
    foreign = values_of(spec)
    del foreign["logits/weights"]
    with pytest.raises(ConfigError) as info:
        mapping.convert(opened(foreign, "tf_checkpoint"), spec)
    assert info.value.found == "1 missing: logits/weights"


def test_the_source_that_leaves_nothing_over_is_taken() -> None:
    spec = with_source(CHAIN, "pytorch", origin="other")
    spec = with_source(spec, "pytorch", origin="right", rules=PYTORCH_RULES)
    mapped = mapping.convert(opened(as_pytorch(values_of(spec))), spec)
    assert mapped.source.origin == "right"


def test_several_fitting_sources_are_not_guessed() -> None:
    spec = with_source(CHAIN, "pytorch", origin="one", rules=PYTORCH_RULES)
    spec = with_source(spec, "pytorch", origin="two", rules=PYTORCH_RULES)
    foreign = as_pytorch(values_of(spec))
    with pytest.raises(ConfigError, match="fit several published forms") as info:
        mapping.convert(opened(foreign), spec)
    assert info.value.found == "one, two"
    assert mapping.convert(opened(foreign), spec, "two").source.origin == "two"


def test_a_net_without_rules_for_the_layout() -> None:
    spec = with_source(CHAIN, "pytorch", origin="torchvision")
    with pytest.raises(ConfigError, match="no rules for these weights") as info:
        mapping.convert(opened({}, "keras_h5"), spec)
    assert info.value.expected == "torchvision (pytorch)"


ROW = NetSpec(
    "row",
    family="test",
    image_size_px=8,
    channels=3,
    num_classes=5,
    parameters=0,
    reference="",
    blocks=(
        *(Conv(4, 3, name=name) for name in ("stem", "a", "b", "named", "c")),
        Flatten(),
    ),
)
IN_ORDER = {
    "rules": ((r"^own(_bn)?/", "named/"), (r"^predictions/", "logits/")),
    "ordered": r"(conv2d|batch_normalization)(_\d+)?",
}


def by_number(values: dict[str, np.ndarray], first: int) -> dict[str, np.ndarray]:
    """As Keras names them, counting from `first`; 0 has no number."""
    foreign = {}
    unnamed = ("stem", "a", "b", "c")
    for name, value in values.items():
        layer, _, last = name.partition("/")
        number = first + unnamed.index(layer) if layer in unnamed else 0
        suffix = f"_{number}" if number else ""
        kind = last.removeprefix("BatchNorm/").replace("weights", "kernel")
        if layer == "named":
            foreign[f"own/{kind}" if kind == "kernel" else f"own_bn/{kind}"] = value
        elif layer == "logits":
            foreign[f"predictions/{kind.replace('biases', 'bias')}"] = value
        elif kind == "kernel":
            foreign[f"conv2d{suffix}/kernel"] = value
        else:
            foreign[f"batch_normalization{suffix}/{kind}"] = value
    return foreign


@pytest.mark.parametrize("first", [0, 1, 7, 98])
def test_layers_by_their_order(first: int) -> None:
    # From 7 and 98 on, the order of the text is another one than that of the numbers.
    spec = with_source(ROW, "keras", **IN_ORDER)
    values = values_of(spec)
    foreign = by_number(values, first)
    shuffled = dict(sorted(foreign.items(), reverse=True))
    mapped = mapping.convert(opened(shuffled, "keras_h5"), spec)
    assert mapped.arrays.keys() == {f"row/{name}" for name in values}
    for name, value in values.items():
        np.testing.assert_array_equal(mapped.arrays[f"row/{name}"], value, name)


def test_too_many_and_too_few_layers_by_order_are_named() -> None:
    spec = with_source(ROW, "keras", **IN_ORDER)
    foreign = by_number(values_of(spec), 1)
    more = foreign | {"conv2d_5/kernel": foreign["conv2d_4/kernel"]}
    with pytest.raises(ConfigError) as info:
        mapping.convert(opened(more, "keras_h5"), spec)
    assert info.value.found == "1 left over: conv2d_5/kernel (conv2d_5/weights)"
    del foreign["conv2d_2/kernel"]
    with pytest.raises(ConfigError) as info:
        mapping.convert(opened(foreign, "keras_h5"), spec)
    assert info.value.found == "1 missing: c/weights"
    foreign["other_2/kernel"] = foreign["conv2d_4/kernel"]
    with pytest.raises(ConfigError, match="not those of the net") as info:
        mapping.convert(opened(foreign, "keras_h5"), spec)
    assert "1 left over: other_2/kernel (other_2/weights)" in info.value.found


def test_vgg_of_torchvision() -> None:
    """PyTorch flattens channels first; layers without weights have numbers too."""
    convolutions = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)
    dense = {"fc6": "classifier.0", "fc7": "classifier.3", "logits": "classifier.6"}
    (source,) = (s for s in registry.find("vgg_16").sources if s.layout == "pytorch")
    spec = dataclasses.replace(
        registry.find("vgg_16"),
        image_size_px=64,
        sources=(dataclasses.replace(source, flattened_maps=(2, 2, 512)),),
    )
    assert source.flattened_maps == (7, 7, 512)
    layers = {f"conv{n}": f"features.{k}" for n, k in enumerate(convolutions, 1)}
    foreign, expected = {}, {}
    for place, (name, shape) in enumerate(mapping.expected_shapes(spec, 5).items()):
        layer, last = name.split("/")
        value = np.full(shape, place, np.float32)
        theirs = (layers | dense)[layer]
        if last == "biases":
            foreign[f"{theirs}.bias"] = value
        elif layer in dense:
            rows = np.arange(shape[0], dtype=np.float32)[:, None]
            value += rows if layer == "fc6" else 0
            inputs = shape[0]
            if layer == "fc6":
                turned = value.reshape(2, 2, 512, -1).transpose(3, 2, 0, 1)
                foreign[f"{theirs}.weight"] = turned.reshape(-1, inputs)
            else:
                foreign[f"{theirs}.weight"] = value.T
        else:
            foreign[f"{theirs}.weight"] = value.transpose(3, 2, 0, 1)
        expected[f"vgg_16/{name}"] = value
    mapped = mapping.convert(opened(foreign), spec)
    assert mapped.source.origin == "torchvision"
    assert mapped.arrays.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(mapped.arrays[name], value, name)

"""Heat maps of models whose evidence is known, and of nets that the Trainer exports."""

import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from common.errors import ConfigError
from trainer import explaining, export, graphs, input_pipeline, training
from trainer.config import (
    ModelConfig,
    PreprocessingConfig,
    TrainConfig,
    TrainerConfig,
)

pytestmark = pytest.mark.usefixtures("small_net")

v1 = tf.compat.v1


def png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def black_with(*squares: tuple[int, int, int]) -> bytes:
    """8 x 8 px, black but for squares of 2 px: row and column of a square, gray level."""
    pixels = np.zeros((8, 8), np.uint8)
    for row, column, level in squares:
        pixels[2 * row : 2 * row + 2, 2 * column : 2 * column + 2] = level
    return png(pixels)


@pytest.mark.parametrize("head", ("pool", "flatten"))
def test_heat_is_where_the_evidence_is(write_maps_model, tmp_path, head):
    folder = write_maps_model(tmp_path / "model", head=head)
    image = black_with((1, 3, 255), (2, 0, 204))
    (light,) = explaining.explain(folder, [image], ["light"])
    # Light minus dark: 1 in the white square, 0.8 - 0.2 in the gray one, -1 elsewhere.
    expected = np.zeros((4, 4))
    expected[1, 3], expected[2, 0] = 1, 0.6
    np.testing.assert_allclose(light.heat, expected, atol=1e-6)
    mean = 1.8 / 16
    logit = 8 * (2 * mean - 1)
    assert light.label == "light"
    assert light.score == pytest.approx(1 / (1 + np.exp(-2 * logit)))
    np.testing.assert_array_equal(light.image[2:4, 6:8], np.full((2, 2, 3), 255))
    assert light.image.sum() == 3 * 4 * (255 + 204)

    (dark,) = explaining.explain(folder, [image])
    assert (dark.label, dark.score) == ("dark", pytest.approx(1 - light.score))
    np.testing.assert_allclose(dark.heat, expected == 0, atol=1e-6)


def test_each_image_of_many_gets_its_own(write_maps_model, tmp_path):
    folder = write_maps_model(tmp_path / "model")
    places = [(n % 4, n // 4 % 4) for n in range(explaining.BATCH_SIZE + 5)]
    found = explaining.explain(
        folder, [black_with((*place, 250)) for place in places], ["light"] * len(places)
    )
    shape = (4, 4)
    assert [np.unravel_index(each.heat.argmax(), shape) for each in found] == places


def test_no_evidence_is_no_heat(write_maps_model, tmp_path):
    folder = write_maps_model(tmp_path / "model")
    (found,) = explaining.explain(folder, [black_with()], ["light"])
    assert found.heat.tolist() == [[0.0] * 4] * 4


def test_gradients_decide_where_a_hidden_layer_lies_between(write_maps_model, tmp_path):
    folder = write_maps_model(tmp_path / "model", head="dense")
    image = black_with((1, 3, 255), (3, 0, 100))
    (found,) = explaining.explain(folder, [image], ["light"])
    maps = np.zeros((4, 4, 2))
    maps[1, 3, 1], maps[3, 0, 1] = 1, 100 / 255
    maps[..., 0] = 1 - maps[..., 1]
    slopes = np.linspace(0.1, 2, 32).reshape(4, 4, 2)
    gradients = np.array([-8, 8]) / 16 * slopes / np.cosh(slopes * maps) ** 2
    evidence = np.maximum(maps @ gradients.mean(axis=(0, 1)), 0)
    np.testing.assert_allclose(found.heat, evidence / evidence.max(), atol=1e-5)


@pytest.fixture(scope="module")
def exported(make_fake, tmp_path_factory):
    """Function (net) -> folder of its model after a few steps, and the fake."""
    folder = tmp_path_factory.mktemp("explained")
    preprocessing = PreprocessingConfig(resize_px=36, crop_px=34, channels=1)
    fake = make_fake(preprocessing)
    split = input_pipeline.load_split([fake.pattern], fake.transform, 2**30)

    def make(net: str):
        config = TrainerConfig(
            preprocessing,
            ModelConfig(net=net, image_size_px=32),
            TrainConfig(batch_size=8, steps=3, learning_rate=0.001),
        )
        result = training.train(config, split, split, 2, folder / f"{net}-run")
        export.export(
            str(folder / net),
            config,
            fake.transform,
            ("dark", "light"),
            result.checkpoint,
            "raw",
        )
        return folder / net, fake

    return make


def grad_cam(folder, encoded, classes) -> np.ndarray:
    """Mean gradients times maps, before anything is cut off."""
    with tf.Graph().as_default() as graph, v1.Session() as session:
        v1.saved_model.load(session, [tf.saved_model.SERVING], str(folder))
        maps = graph.get_tensor_by_name("last_maps:0").op.inputs[0]
        logits = graph.get_tensor_by_name("logits:0")
        chosen = tf.one_hot(classes, logits.shape[1])
        (gradients,) = tf.gradients(tf.reduce_sum(chosen * logits), [maps])
        weights = tf.reduce_mean(gradients, [1, 2], keepdims=True)
        return session.run(
            tf.reduce_sum(weights * maps, axis=3), {"images:0": list(encoded)}
        )


def test_activation_map_and_gradients_agree_behind_global_pooling(exported):
    folder, fake = exported("resnet_8")
    encoded = fake.encoded[:6]
    for place, label in enumerate(("dark", "light")):
        found = explaining.explain(folder, encoded, [label] * 6)
        evidence = np.maximum(grad_cam(folder, encoded, [place] * 6), 0)
        highest = evidence.max(axis=(1, 2), keepdims=True)
        assert (highest > 0).any()
        expected = evidence / np.where(highest > 0, highest, 1)
        np.testing.assert_allclose(
            [each.heat for each in found], expected, atol=1e-4, rtol=1e-4
        )
        assert found[0].heat.shape == (8, 8)
    # The net sees the centre of 32 of 36 px.
    np.testing.assert_array_equal(found[3].image, fake.images[3, 2:34, 2:34])


def test_grad_cam_of_a_net_with_dense_layers(exported):
    folder, fake = exported("lenet_5")
    found = explaining.explain(folder, fake.encoded[:3], ["light"] * 3)
    evidence = np.maximum(grad_cam(folder, fake.encoded[:3], [1] * 3), 0)
    for each, expected in zip(found, evidence, strict=True):
        # Not the single position of its last convolution.
        assert each.heat.shape == (5, 5)
        np.testing.assert_allclose(
            each.heat, expected / (expected.max() or 1), atol=1e-5
        )


def test_a_net_without_maps_says_so(exported):
    folder, fake = exported("mlp_bn")
    with pytest.raises(ConfigError, match=r"the net of .* has no layer with maps"):
        explaining.explain(folder, fake.encoded[:1])


@pytest.mark.parametrize(
    ("net", "size_px", "maps", "has_weights"),
    (
        ("resnet_20", 32, (8, 8, 64), True),
        ("resnet_20", 8, (2, 2, 64), True),
        ("googlenet", 64, (2, 2, 1024), True),  # dropout lies between
        ("resnet_18", 32, (2, 2, 256), False),  # its last maps have one position
        ("alexnet", 227, (6, 6, 256), False),
    ),
)
def test_which_maps_are_the_last(net, size_px, maps, has_weights):
    config = TrainerConfig(model=ModelConfig(net=net, image_size_px=size_px))
    with tf.Graph().as_default():
        images = tf.zeros([1, size_px, size_px, 3])
        inference = graphs.build_inference(images, 4, config)
    assert inference.last_maps.shape[1:] == maps
    assert (inference.class_weights is not None) == has_weights
    if has_weights:
        assert inference.class_weights.shape == (maps[2], 4)


def test_a_model_exported_before_is_to_be_trained_again(write_maps_model, tmp_path):
    folder = write_maps_model(tmp_path / "model", names=())
    with pytest.raises(ConfigError) as caught:
        explaining.explain(folder, [black_with()])
    assert caught.value.message == (
        f"an earlier version of slimline exported the model in {folder}, without what a"
        " heat map needs; train it again with slimline run"
    )


def test_what_is_no_model_is_refused(write_maps_model, tmp_path):
    with pytest.raises(ConfigError, match="names no classes"):
        explaining.explain(tmp_path / "none", [black_with()])
    folder = write_maps_model(tmp_path / "model")
    with pytest.raises(ValueError, match=r"must be classes of .* Received 'blue'"):
        explaining.explain(folder, [black_with()], ["blue"])
    with pytest.raises(ValueError, match="Received 1 for 2 images"):
        explaining.explain(folder, [black_with()] * 2, ["dark"])
    (folder / "saved_model.pb").write_bytes(b"damaged")
    with pytest.raises(ConfigError, match="cannot load the model in"):
        explaining.explain(folder, [black_with()])

"""The SavedModel answers as the Trainer's evaluation graph does."""

import asyncio
import dataclasses
import functools
import io
import pathlib

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from pushed_models import signatures
from schema import features, orientation
from serving import encoding, local_model
from serving.local_server import errors, loaded_model, ops, sessions
from serving.local_server.limits import Limits
from trainer import evaluation, explaining, export, input_pipeline, training
from trainer.config import (
    ModelConfig,
    PreprocessingConfig,
    TrainConfig,
    TrainerConfig,
)

pytestmark = pytest.mark.usefixtures("small_net")

LABELS = ("dark", "light")


@dataclasses.dataclass(frozen=True)
class Exported:
    """A trained, exported fake and what belongs to it."""

    folder: pathlib.Path
    fake: object
    config: TrainerConfig
    split: input_pipeline.Split
    result: training.TrainingResult
    weights: str
    kind: str

    @functools.cached_property
    def model(self) -> object:
        """The SavedModel, loaded."""
        return tf.saved_model.load(str(self.folder))

    @functools.cached_property
    def trainer_probabilities(self) -> np.ndarray:
        return self.probabilities(self.split.images, self.config.model.test_time_views)

    def probabilities(self, images: np.ndarray, views: str = "none") -> np.ndarray:
        with evaluation.EvalSession(
            self.config, self.split, len(LABELS), test_time_views=views
        ) as eval_session:
            return eval_session.probabilities(
                self.result.checkpoint, self.weights, images
            )


@pytest.fixture(
    scope="module",
    params=[
        ("ema", "none", "JPEG"),
        ("raw", "mirror", "PNG"),
        ("ema", "mirror_shift", "WEBP"),
    ],
    ids="-".join,
)
def exported(request, make_fake, tmp_path_factory) -> Exported:
    weights, views, kind = request.param
    folder = tmp_path_factory.mktemp("export")
    config = TrainerConfig(
        PreprocessingConfig(resize_px=12, crop_px=10, channels=1),
        ModelConfig(net="resnet_8", image_size_px=8, test_time_views=views),
        # Few small steps: saturated probabilities would hide differences.
        TrainConfig(batch_size=8, steps=3, learning_rate=0.001, ema_decay=0.9),
    )
    fake = make_fake(config.preprocessing)
    split = input_pipeline.load_split([fake.pattern], fake.transform, 2**30)
    result = training.train(config, split, split, len(LABELS), folder)
    export.export(
        str(folder / "1"),
        config,
        fake.transform,
        LABELS,
        result.checkpoint,
        weights,
    )
    return Exported(folder / "1", fake, config, split, result, weights, kind)


def example(encoded: bytes) -> bytes:
    feature = tf.train.Feature(bytes_list=tf.train.BytesList(value=[encoded]))
    return tf.train.Example(
        features=tf.train.Features(feature={features.ENCODED: feature})
    ).SerializeToString()


def call(exported: Exported, signature: str, encoded: list[bytes]) -> dict:
    model = exported.model
    if signature == export.PREDICT_IMAGES:
        outputs = model.signatures[signature](images=tf.constant(encoded))
    else:
        examples = tf.constant([example(one) for one in encoded])
        outputs = model.signatures[signature](**{export.INPUTS[signature]: examples})
    return {name: value.numpy() for name, value in outputs.items()}


def in_label_order(outputs: dict) -> np.ndarray:
    """Probabilities from the scores of the classes."""
    rows = []
    for classes, scores in zip(outputs["classes"], outputs["scores"], strict=True):
        by_class = dict(zip(classes.tolist(), scores.tolist(), strict=True))
        rows.append([by_class[label.encode()] for label in LABELS])
    return np.array(rows, np.float32)


@pytest.mark.parametrize("signature", signatures.INPUTS)
def test_signatures_agree_with_the_evaluation_graph(
    exported: Exported, signature: str
) -> None:
    expected = exported.trainer_probabilities
    assert expected.min() > 1e-4  # not saturated, so that a difference would show
    outputs = call(exported, signature, exported.fake.encoded)
    assert outputs.keys() == signatures.OUTPUTS[signature].keys()
    np.testing.assert_allclose(in_label_order(outputs), expected, atol=1e-5)
    if "probabilities" in outputs:
        np.testing.assert_allclose(outputs["probabilities"], expected, atol=1e-5)


def test_classify_is_what_the_model_server_calls(exported: Exported) -> None:
    """As TensorFlow Serving's classifier reads a signature: method, names, kinds."""
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        meta = tf.compat.v1.saved_model.load(
            session, [tf.saved_model.SERVING], str(exported.folder)
        )
    found = meta.signature_def["classify"]
    assert found.method_name == "tensorflow/serving/classify"
    assert {name: info.dtype for name, info in found.inputs.items()} == {
        "inputs": tf.string.as_datatype_enum
    }
    assert {name: info.dtype for name, info in found.outputs.items()} == {
        "classes": tf.string.as_datatype_enum,
        "scores": tf.float32.as_datatype_enum,
    }
    others = (export.SERVING_DEFAULT, export.PREDICT_IMAGES)
    for name in others:
        assert meta.signature_def[name].method_name == "tensorflow/serving/predict"


def test_one_image_alone_answers_as_in_a_batch(exported: Exported) -> None:
    many = call(exported, export.PREDICT_IMAGES, exported.fake.encoded)
    for index in (0, 11, 39):
        one = call(exported, export.PREDICT_IMAGES, [exported.fake.encoded[index]])
        np.testing.assert_allclose(
            one["probabilities"][0], many["probabilities"][index], atol=1e-5
        )


def test_a_narrow_image_fails_alone_on_our_server(exported: Exported) -> None:
    file = io.BytesIO()
    Image.new("L", (16_384, 1)).save(file, "PNG")
    model = loaded_model.LoadedModel("fake", exported.folder, Limits())

    async def answers() -> list:
        inputs = [file.getvalue(), *exported.fake.encoded[:3]]
        requests = [
            model.run(export.PREDICT_IMAGES, {"images": np.array([one], object)}, None)
            for one in inputs
        ]
        found = await asyncio.gather(*requests, return_exceptions=True)
        await model.stop()
        return found

    refused, *answered = asyncio.run(answers())
    model.unload()
    assert type(refused) is errors.InvalidInput
    probabilities = np.concatenate([one["probabilities"] for one in answered])
    np.testing.assert_allclose(
        probabilities, exported.trainer_probabilities[:3], atol=1e-5
    )


def held(kind: str, value: int) -> bytes:
    """One picture, as a camera held that way stores it."""
    upright = np.linspace(0, 255, 22 * 17).astype(np.uint8).reshape(22, 17)
    upright[:9, :4] //= 3
    # Every turn undoes itself, but for the two quarters, which undo each other.
    stored = orientation.turn(upright, {6: 8, 8: 6}.get(value, value))
    tags = Image.Exif()
    tags[0x0112] = value
    file = io.BytesIO()
    options = {"lossless": True} if kind == "WEBP" else {"quality": 98}
    Image.fromarray(stored).save(file, kind, exif=tags, **options)
    return file.getvalue()


def test_all_orientations_of_a_picture_get_one_answer_on_every_road(
    exported: Exported, tmp_path: pathlib.Path
) -> None:
    kind = exported.kind
    pictures = [held(kind, value) for value in range(1, 9)]
    paths = [tmp_path / f"{value}.{kind.lower()}" for value in range(1, 9)]
    for path, data in zip(paths, pictures, strict=True):
        path.write_bytes(data)
    opened = [Image.open(path) for path in paths]
    pushed = local_model.LocalModel.load(exported.folder)
    roads = [
        in_label_order_of(pushed.predict(images))
        for images in (pictures, paths, opened)
    ]
    encoded = [encoding.encode(data, "picture") for data in pictures]
    examples = [example(encoding.check_file(str(path)).encoded) for path in paths]
    served = loaded_model.LoadedModel("fake", exported.folder, Limits())

    async def answers() -> list:
        requests = [
            (export.PREDICT_IMAGES, "images", encoded),
            (export.SERVING_DEFAULT, "examples", examples),
        ]
        found = [
            await served.run(name, {key: np.array(inputs, object)}, None)
            for name, key, inputs in requests
        ]
        await served.stop()
        return found

    roads += [outputs["probabilities"] for outputs in asyncio.run(answers())]
    served.unload()
    for probabilities in roads:
        np.testing.assert_allclose(
            probabilities, roads[0][:1].repeat(8, axis=0), atol=0.02
        )
        if kind != "JPEG":
            np.testing.assert_allclose(probabilities, roads[0], atol=1e-5)


def in_label_order_of(predictions: list) -> np.ndarray:
    return np.array([[dict(one.top)[label] for label in LABELS] for one in predictions])


def test_the_server_knows_all_operations(exported: Exported) -> None:
    assert ops.problems(sessions.read_meta_graph(exported.folder)) == []


def test_classes_and_scores_come_best_first(exported: Exported) -> None:
    outputs = call(exported, export.PREDICT_IMAGES, exported.fake.encoded[:6])
    order = np.argsort(-outputs["probabilities"], axis=1)
    expected = np.array(LABELS)[order]
    assert [[name.decode() for name in row] for row in outputs["classes"]] == (
        expected.tolist()
    )
    np.testing.assert_allclose(
        outputs["scores"], np.take_along_axis(outputs["probabilities"], order, axis=1)
    )
    np.testing.assert_allclose(outputs["probabilities"].sum(axis=1), 1, atol=1e-5)


def test_label_names_travel_as_an_asset(exported: Exported) -> None:
    path = exported.folder / "assets" / export.LABELS_ASSET
    assert path.read_text().splitlines() == list(LABELS)


def test_a_session_of_the_first_generation_can_serve_it(exported: Exported) -> None:
    """TensorFlow Serving runs the signature's tensors in a session."""
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        meta = tf.compat.v1.saved_model.load(
            session, [tf.saved_model.SERVING], str(exported.folder)
        )
        signature = meta.signature_def[export.PREDICT_IMAGES]
        probabilities = session.run(
            signature.outputs["probabilities"].name,
            {signature.inputs["images"].name: exported.fake.encoded},
        )
    np.testing.assert_allclose(probabilities, exported.trainer_probabilities, atol=1e-5)


def test_weights_differ_between_raw_and_average(exported: Exported) -> None:
    with evaluation.EvalSession(exported.config, exported.split, 2) as eval_session:
        raw, average = (
            eval_session.probabilities(
                exported.result.checkpoint, weights, exported.split.images
            )
            for weights in ("raw", "ema")
        )
    assert np.abs(raw - average).max() > 1e-6


def bordered(images: np.ndarray) -> np.ndarray:
    """Images of 8 px in the middle of 10, as the net takes them out again."""
    return np.pad(images, [(0, 0), (1, 1), (1, 1), (0, 0)])


def test_answers_are_those_of_the_mean_logits_of_the_views(exported: Exported) -> None:
    """Views made by numpy, each through the evaluation graph on its own."""
    images = exported.split.images[:, 1:9, 1:9]
    reflected = np.pad(images, [(0, 0), (1, 1), (1, 1), (0, 0)], mode="reflect")
    up_left, down_right = reflected[:, 2:, 2:], reflected[:, :8, :8]
    weights_and_views = {
        "none": [(1.0, images)],
        "mirror": [(0.5, images), (0.5, images[:, :, ::-1])],
        "mirror_shift": [
            (weight, view[:, :, ::step])
            for weight, view in ((0.25, images), (0.125, up_left), (0.125, down_right))
            for step in (1, -1)
        ],
    }[exported.config.model.test_time_views]
    assert sum(weight for weight, _ in weights_and_views) == 1
    # Logits but for a number an image and view, which softmax does not see.
    logits = sum(
        weight * np.log(exported.probabilities(bordered(view)))
        for weight, view in weights_and_views
    )
    powers = np.exp(logits)
    expected = powers / powers.sum(axis=1, keepdims=True)
    found = call(exported, export.PREDICT_IMAGES, exported.fake.encoded)
    np.testing.assert_allclose(found["probabilities"], expected, atol=1e-5)
    plain = exported.probabilities(exported.split.images)
    is_plain = exported.config.model.test_time_views == "none"
    assert (np.abs(expected - plain).max() < 1e-6) == is_plain


def test_a_signature_tells_what_it_would_be_without_views(exported: Exported) -> None:
    model = exported.model
    name = signatures.VIEWS_COMPARED
    assert (name in model.signatures) == (
        exported.config.model.test_time_views != "none"
    )
    if name not in model.signatures:
        return
    examples = tf.constant([example(one) for one in exported.fake.encoded])
    outputs = model.signatures[name](examples=examples)
    np.testing.assert_allclose(
        outputs["probabilities"], exported.trainer_probabilities, atol=1e-5
    )
    np.testing.assert_allclose(
        outputs["plain_probabilities"],
        exported.probabilities(exported.split.images),
        atol=1e-5,
    )


def test_explanations_are_of_the_image_and_name_what_is_answered(
    exported: Exported, tmp_path: pathlib.Path
) -> None:
    encoded = exported.fake.encoded[:4]
    answers = exported.trainer_probabilities[:4]
    plain = dataclasses.replace(
        exported.config,
        model=dataclasses.replace(exported.config.model, test_time_views="none"),
    )
    export.export(
        str(tmp_path / "plain"),
        plain,
        exported.fake.transform,
        LABELS,
        exported.result.checkpoint,
        exported.weights,
    )
    labels = [LABELS[row.argmax()] for row in answers]
    for found, without, row in zip(
        explaining.explain(exported.folder, encoded),
        explaining.explain(tmp_path / "plain", encoded, labels),
        answers,
        strict=True,
    ):
        assert found.label == LABELS[row.argmax()]
        assert found.score == pytest.approx(row.max(), abs=1e-5)
        np.testing.assert_allclose(found.heat, without.heat, atol=1e-4)
        np.testing.assert_array_equal(found.image, without.image)

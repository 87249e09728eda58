"""What is recorded is what the Trainer's graph and the SavedModel answer."""

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from pushed_models import signatures
from schema import features
from trainer import evaluation, export, input_pipeline, recording, training, warm_up
from trainer.config import (
    ModelConfig,
    PreprocessingConfig,
    TrainConfig,
    TrainerConfig,
)

pytestmark = pytest.mark.usefixtures("small_net")

LABELS = ("dark", "light")


def read(path) -> tuple[list[bytes], np.ndarray]:
    encoded, probabilities = [], []
    for serialised in tf.data.TFRecordDataset(str(path), "GZIP").as_numpy_iterator():
        feature = tf.train.Example.FromString(serialised).features.feature
        encoded.append(feature[features.ENCODED].bytes_list.value[0])
        probabilities.append(feature["probabilities"].float_list.value)
    return encoded, np.array(probabilities, np.float32)


@pytest.mark.parametrize(
    "views", [pytest.param("none", marks=pytest.mark.nightly), "mirror_shift"]
)
def test_the_recording_is_what_both_graphs_answer(
    make_fake, tmp_path, views: str
) -> None:
    config = TrainerConfig(
        PreprocessingConfig(resize_px=12, crop_px=10, channels=1),
        ModelConfig(net="resnet_8", image_size_px=8, test_time_views=views),
        TrainConfig(batch_size=8, steps=2, learning_rate=0.001, ema_decay=0.9),
    )
    fake = make_fake(config.preprocessing)
    split = input_pipeline.load_split([fake.pattern], fake.transform, 2**30)
    result = training.train(config, split, split, len(LABELS), tmp_path / "run")
    path = recording.record(
        tmp_path, config, split, len(LABELS), result.checkpoint, "ema"
    )
    assert path.name == signatures.RECORDED_FILE
    encoded, probabilities = read(path)
    # The fake has its two classes in turn, so the first 20 are spread.
    assert encoded == fake.encoded[:20]
    images = input_pipeline.preprocess(
        [one.numpy() for one in tf.data.TFRecordDataset(split.files, "GZIP").take(20)],
        fake.transform,
    )
    with evaluation.EvalSession(
        config, split, len(LABELS), test_time_views=views
    ) as session:
        expected = session.probabilities(result.checkpoint, "ema", images)
        others = session.probabilities(result.checkpoint, "raw", images)
    np.testing.assert_array_equal(probabilities, expected)
    assert np.abs(probabilities - others).max() > 1e-6

    export.export(
        str(tmp_path / "model"),
        config,
        fake.transform,
        LABELS,
        result.checkpoint,
        "ema",
    )
    model = tf.saved_model.load(str(tmp_path / "model"))
    answers = model.signatures[signatures.PREDICT_IMAGES](images=tf.constant(encoded))
    np.testing.assert_allclose(answers["probabilities"], probabilities, atol=1e-5)

    requests = warm_up.add(tmp_path / "model", path)
    by_image = dict(zip(encoded, probabilities, strict=True))
    sizes = [
        _answer(model, record, by_image)
        for record in tf.data.TFRecordDataset(str(requests)).as_numpy_iterator()
    ]
    assert sizes == [1, 1, 1, 4, 4, 4]


def _answer(model, record: bytes, by_image) -> int:
    """Asks what a server would ask at its start; gives the images of the request."""
    log = prediction_log_pb2.PredictionLog.FromString(record)
    if log.HasField("predict_log"):
        request = log.predict_log.request
        ((name, tensor),) = request.inputs.items()
        values = tf.make_ndarray(tensor).tolist()
    else:
        request, name = log.classify_log.request, "inputs"
        values = [
            example.SerializeToString()
            for example in request.input.example_list.examples
        ]
    answers = model.signatures[request.model_spec.signature_name](
        **{name: tf.constant(values)}
    )
    images = values
    if name != "images":
        images = [
            tf.train.Example.FromString(value)
            .features.feature[features.ENCODED]
            .bytes_list.value[0]
            for value in values
        ]
    best = [by_image[image].max() for image in images]
    np.testing.assert_allclose(answers["scores"][:, 0], best, atol=1e-5)
    return len(values)


@pytest.mark.parametrize(
    ("labels", "count", "places"),
    [
        ([0, 0, 0, 0, 1, 1, 1, 1], 4, [0, 1, 4, 5]),
        ([0, 0, 0, 0, 0, 1], 4, [0, 1, 2, 5]),  # a rare class has what it has
        ([2, 1, 0], 20, [0, 1, 2]),
        ([7, 7, 7], 2, [0, 1]),
        ([0, 1, 2, 3, 4], 3, [0, 2, 4]),  # more classes than images: even distances
        ([4, 3, 2, 1, 0], 2, [0, 4]),
        ([-1, 0, 0], 2, [0, 1]),
    ],
)
def test_images_are_spread_over_classes(labels, count, places) -> None:
    assert recording.spread(np.array(labels, np.int64), count) == places

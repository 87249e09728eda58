"""A version in memory answers as it was pushed, for each signature."""

import asyncio

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from pushed_models import signatures
from serving.local_server import errors, loaded_model
from serving.local_server.limits import Limits
from storage import manifest

COLOURS = ((250, 10, 20), (3, 180, 99), (7, 7, 70))


@pytest.fixture(scope="module")
def folder(write_model, tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("cats"), 7, bias=0.5)


@pytest.fixture(scope="module")
def model(folder):
    model = loaded_model.LoadedModel("cats", folder, Limits(max_batch_size=4))
    yield model
    model.unload()


def strings(values):
    return np.array([*values, None], object)[:-1]


def ask(model, images):
    return model.run("predict_images", {"images": strings(images)}, None)


def with_batcher(model, scenario):
    async def main():
        return await asyncio.wait_for(scenario(), 60)

    return asyncio.run(main())


def test_it_knows_what_it_is(model):
    assert (model.name, model.version) == ("cats", 7)
    assert model.class_names == ("red", "green", "blue")
    assert set(model.signatures) == set(signatures.INPUTS)
    method = model.signatures[signatures.CLASSIFY].method_name
    assert method == "tensorflow/serving/classify"


@pytest.mark.parametrize("name", signatures.INPUTS)
def test_every_signature_answers_as_worked_out_by_hand(
    model, png, example, offline, name
):
    images = [png(*colour) for colour in COLOURS]
    inputs = images if name == "predict_images" else [example(one) for one in images]
    tensors = {signatures.INPUTS[name]: strings(inputs)}
    outputs = with_batcher(model, lambda: model.run(name, tensors, None))
    expected = offline(COLOURS, bias=0.5)
    assert set(outputs) == set(signatures.OUTPUTS[name])
    if "probabilities" in outputs:
        np.testing.assert_allclose(outputs["probabilities"], expected, atol=1e-5)
    order = np.argsort(-expected, axis=1)
    np.testing.assert_allclose(
        outputs["scores"], np.take_along_axis(expected, order, axis=1), atol=1e-5
    )
    names = np.array([b"red", b"green", b"blue"], object)
    np.testing.assert_array_equal(outputs["classes"], names[order])


def test_many_images_come_back_in_order(model, png, offline):
    colours = [(red, 99, 200 - red) for red in range(0, 200, 9)]
    images = [png(*colour, side_px=5, kind="JPEG") for colour in colours]
    outputs = with_batcher(model, lambda: ask(model, images))
    # JPEG keeps a flat colour within a level or two.
    np.testing.assert_allclose(
        outputs["probabilities"], offline(colours, bias=0.5), atol=0.02
    )
    single = with_batcher(model, lambda: ask(model, images[9:10]))
    np.testing.assert_allclose(
        single["probabilities"][0], outputs["probabilities"][9], atol=1e-6
    )


def test_bytes_that_are_no_image_fail_alone(model, png, offline):
    noise = np.random.default_rng(0).integers(0, 255, [64, 64, 3], np.uint8)
    whole = tf.io.encode_png(noise).numpy()
    bad = [b"nothing", whole[:2000], b"", png(1, 2, 3, kind="WEBP")]
    good = [png(*colour) for colour in COLOURS]

    async def scenario():
        requests = [ask(model, [one]) for one in [*bad, *good]]
        return await asyncio.gather(*requests, return_exceptions=True)

    found = with_batcher(model, scenario)
    assert [type(one) for one in found[:4]] == [errors.InvalidInput] * 4
    answers = np.concatenate([one["probabilities"] for one in found[4:]])
    np.testing.assert_allclose(answers, offline(COLOURS, bias=0.5), atol=1e-5)


def test_bytes_that_are_no_example_are_refused(model, example, png):
    inputs = {"inputs": strings([example(png(1, 2, 3)), b"\xff\xff"])}
    with pytest.raises(errors.InvalidInput, match="instance 1: "):
        with_batcher(model, lambda: model.run("classify", inputs, None))


def test_every_batch_size_up_to_the_largest_is_warm(
    write_model, tmp_path, png, monkeypatch
):
    asked = []
    call = loaded_model._Call.__call__

    def count(self, inputs):
        asked.append(next((name, len(one)) for name, one in inputs.items()))
        return call(self, inputs)

    folder = write_model(tmp_path, 7)
    monkeypatch.setattr(loaded_model._Call, "__call__", count)
    loaded_model.LoadedModel("cats", folder, Limits(max_batch_size=9)).unload()
    assert asked == [
        (name, size) for name in signatures.INPUTS.values() for size in (1, 2, 4, 8)
    ]


class Scaled(tf.Module):
    """A model of somebody else: numbers, scalars, text, tables; written by TensorFlow 2."""

    def __init__(self):
        super().__init__()
        self.factor = tf.Variable(3.0)
        self.table = tf.lookup.StaticHashTable(
            tf.lookup.KeyValueTensorInitializer(["cat", "dog"], [1, 2]), -1
        )

    @tf.function(
        input_signature=[
            tf.TensorSpec([None, 2], tf.float32, "x"),
            tf.TensorSpec([None, 2], tf.int32, "y"),
        ]
    )
    def two(self, x, y):
        return {"sum": self.factor * x + tf.cast(y, tf.float32)}

    @tf.function(input_signature=[tf.TensorSpec([None, 1], tf.string, "word")])
    def column(self, word):
        return {"number": self.table.lookup(word), "upper": tf.strings.upper(word)}

    @tf.function(input_signature=[tf.TensorSpec([], tf.string, "word")])
    def scalar(self, word):
        return {"upper": tf.strings.upper(word)}


@pytest.fixture(scope="module")
def scaled(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scaled") / "00000123"
    module = Scaled()
    tf.saved_model.save(
        module,
        str(folder),
        {"serving_default": module.two, "column": module.column, "one": module.scalar},
    )
    model = loaded_model.LoadedModel("scaled", folder, Limits(max_batch_size=4))
    yield model
    model.unload()


def test_a_model_of_tensorflow_2_answers_by_all_its_signatures(scaled):
    assert (scaled.version, scaled.class_names) == (123, ())

    async def scenario():
        two = [
            scaled.run(
                "serving_default",
                {"x": np.full([rows, 2], rows, "f"), "y": np.ones([rows, 2], "i")},
                None,
            )
            for rows in (1, 2, 9)
        ]
        column = np.array([[b"dog"], [b"cow"]], object)
        return await asyncio.gather(
            *two,
            scaled.run("column", {"word": column}, None),
            scaled.run("one", {"word": np.array(b"dog", object)}, None),
        )

    *two, column, one = with_batcher(scaled, scenario)
    for rows, outputs in zip((1, 2, 9), two, strict=True):
        np.testing.assert_array_equal(outputs["sum"], np.full([rows, 2], 3 * rows + 1))
    assert column["number"].tolist() == [[2], [-1]]
    assert column["upper"].tolist() == [[b"DOG"], [b"COW"]]
    assert one["upper"] == b"DOG"
    # Requests of two signatures are never one batch; those of one are, whole or in parts.
    assert sum(scaled.batch_sizes.values()) >= 5


@pytest.mark.parametrize("purpose", ["answer", "be loaded"])
def test_what_writes_is_not_loaded(write_model, tmp_path, purpose):
    canary = tmp_path / "canary"

    def tamper(images):
        with tf.control_dependencies([tf.io.write_file(str(canary), "here")]):
            return tf.identity(images)

    if purpose == "answer":
        folder = write_model(tmp_path, 7, tamper=tamper)
    else:
        module = tf.Module()
        module.table = tf.lookup.StaticHashTable(
            tf.lookup.TextFileInitializer(
                "/etc/passwd",
                tf.string,
                tf.lookup.TextFileIndex.WHOLE_LINE,
                tf.int64,
                tf.lookup.TextFileIndex.LINE_NUMBER,
            ),
            -1,
        )
        module.look = tf.function(
            module.table.lookup, input_signature=[tf.TensorSpec([None], tf.string)]
        )
        folder = tmp_path / "7"
        tf.saved_model.save(module, str(folder), {"look": module.look})
    operation = {"answer": "WriteFile", "be loaded": "InitializeTableFromTextFileV2"}
    with pytest.raises(
        tf.errors.FailedPreconditionError, match=f"{operation[purpose]} to {purpose}"
    ):
        loaded_model.LoadedModel("spy", folder, Limits())
    assert not canary.exists()


def test_a_graph_that_never_ends_is_given_up(write_model, tmp_path, png, monkeypatch):
    def endless(images):
        (number,) = tf.while_loop(
            lambda number: number < 1.0,
            lambda number: [number * 0.5],
            [tf.constant(0.5)],
        )
        with tf.control_dependencies([number]):
            return tf.identity(images)

    monkeypatch.setattr(loaded_model, "_STEP_SECONDS", 1)
    with pytest.raises(tf.errors.DeadlineExceededError):
        folder = write_model(tmp_path, 6, tamper=endless)
        loaded_model.LoadedModel("endless", folder, Limits())
    folder = write_model(tmp_path, 7, tamper=endless, has_recorded=False)
    model = loaded_model.LoadedModel("endless", folder, Limits())
    with pytest.raises(errors.ServerError, match="Internal error"):
        with_batcher(model, lambda: ask(model, [png(1, 2, 3)]))
    model.unload()


def test_requests_of_the_warm_up_file_are_asked(write_model, tmp_path, monkeypatch):
    folder = write_model(tmp_path, 7, has_recorded=False, has_manifest=False)
    path = folder / manifest.EXTRA_FOLDER / signatures.WARM_UP_FILE
    path.parent.mkdir(exist_ok=True)
    log = prediction_log_pb2.PredictionLog()
    log.predict_log.request.model_spec.signature_name = "predict_images"
    tensor = tf.make_tensor_proto([b"no image"], tf.string)
    log.predict_log.request.inputs["images"].CopyFrom(tensor)
    with tf.io.TFRecordWriter(str(path)) as writer:
        writer.write(log.SerializeToString())
    # A request that fails keeps the version from being loaded, as in TensorFlow Serving.
    with pytest.raises(errors.InvalidInput):
        loaded_model.LoadedModel("cats", folder, Limits())

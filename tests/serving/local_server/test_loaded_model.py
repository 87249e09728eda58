"""A version in memory answers as it was pushed, for each signature."""

import asyncio

import numpy as np
import pytest
import tensorflow as tf

from schema import signatures
from serving.local_server import errors, loaded_model
from serving.local_server.settings import Settings

COLOURS = ((250, 10, 20), (3, 180, 99), (7, 7, 70))


@pytest.fixture(scope="module")
def folder(write_model, tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("cats"), 7, bias=0.5)


@pytest.fixture(scope="module")
def model(folder):
    model = loaded_model.LoadedModel("cats", folder, Settings(max_batch_size=4))
    yield model
    model.unload()


def strings(values):
    made = np.empty(len(values), object)
    made[:] = values
    return made


def with_batcher(model, scenario):
    async def main():
        model.start()
        try:
            return await asyncio.wait_for(scenario(), 60)
        finally:
            await model.stop()

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
    outputs = with_batcher(model, lambda: model.run(name, strings(inputs), None))
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
    outputs = with_batcher(
        model, lambda: model.run("predict_images", strings(images), None)
    )
    # JPEG keeps a flat colour within a level or two.
    np.testing.assert_allclose(
        outputs["probabilities"], offline(colours, bias=0.5), atol=0.02
    )
    single = with_batcher(
        model, lambda: model.run("predict_images", strings(images[9:10]), None)
    )
    np.testing.assert_allclose(
        single["probabilities"][0], outputs["probabilities"][9], atol=1e-6
    )


def test_bytes_that_are_no_image_fail_alone(model, png, offline):
    noise = np.random.default_rng(0).integers(0, 255, [64, 64, 3], np.uint8)
    whole = tf.io.encode_png(noise).numpy()
    bad = [b"nothing", whole[:2000], b"", png(1, 2, 3, kind="WEBP")]
    good = [png(*colour) for colour in COLOURS]

    async def scenario():
        requests = [
            model.run("predict_images", strings([one]), None) for one in [*bad, *good]
        ]
        return await asyncio.gather(*requests, return_exceptions=True)

    found = with_batcher(model, scenario)
    assert [type(one) for one in found[:4]] == [errors.InvalidInput] * 4
    answers = np.concatenate([one["probabilities"] for one in found[4:]])
    np.testing.assert_allclose(answers, offline(COLOURS, bias=0.5), atol=1e-5)


def test_bytes_that_are_no_example_are_refused(model, example, png):
    inputs = strings([example(png(1, 2, 3)), b"\xff\xff"])
    with pytest.raises(errors.InvalidInput, match="instance 1: "):
        with_batcher(model, lambda: model.run("classify", inputs, None))


def test_an_unknown_signature_is_a_bad_request(model):
    with pytest.raises(errors.BadRequest, match='key "regress" not found'):
        with_batcher(model, lambda: model.run("regress", strings([b"x"]), None))


def test_every_batch_size_up_to_the_largest_is_warm(folder, monkeypatch):
    sizes = []
    call = loaded_model._Call.__call__

    def count(self, inputs):
        sizes.append(len(inputs))
        return call(self, inputs)

    monkeypatch.setattr(loaded_model._Call, "__call__", count)
    loaded_model.LoadedModel("cats", folder, Settings(max_batch_size=9)).unload()
    assert sizes == [1, 2, 4, 8] * 3  # by each signature

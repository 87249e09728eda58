"""TensorFlow Serving's JSON: rows and columns, bytes and text, Examples, answers."""

import base64
import json
import time

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import meta_graph_pb2

from serving.local_server import errors, json_tensors
from serving.local_server.limits import Limits

LIMITS = Limits()

IMAGE = bytes(range(256))
BASE64 = {"b64": base64.b64encode(IMAGE).decode()}


def info(dtype, *dims):
    made = meta_graph_pb2.TensorInfo(dtype=tf.dtypes.as_dtype(dtype).as_datatype_enum)
    made.tensor_shape.CopyFrom(tf.TensorShape(dims).as_proto())
    return made


def strings(document):
    infos = {"images": info("string", None)}
    return json_tensors.tensors(document, infos)["images"].tolist()


@pytest.mark.parametrize(
    "document",
    [
        {"instances": [BASE64, "text é"]},
        {"instances": [{"images": BASE64}, {"images": "text é"}]},
        {"inputs": [BASE64, "text é"]},
        {"inputs": {"images": [BASE64, "text é"]}},
        {"inputs": {"images": [BASE64, "text é"], "other": [1]}},
    ],
)
def test_forms_of_the_same_strings(document):
    assert strings(document) == [IMAGE, "text é".encode()]


@pytest.mark.parametrize(
    ("text", "decoded"),
    [
        ("eHg=", b"xx"),
        ("eHg", b"xx"),
        ("eH\ng=\n", b"xx"),
        ("", b""),
        ("+/+/", b"\xfb\xff\xbf"),
    ],
)
def test_base64_as_programs_write_it(text, decoded):
    assert strings({"instances": [{"b64": text}]}) == [decoded]


@pytest.mark.parametrize(
    ("document", "text"),
    [
        ({}, "Missing 'inputs' or 'instances' key"),
        ({"instances": ["a"], "inputs": ["a"]}, "only one of"),
        ({"instances": "a"}, "to be a list"),
        ({"instances": {}}, "to be a list"),
        ({"instances": []}, "No values"),
        ({"instances": ["a", 5]}, "element: 1. JSON Value is not of expected type"),
        ({"instances": [["a"], ["b", "c"]]}, "unexpected size"),
        ({"instances": ["a", ["b"]]}, "not of expected type: string"),
        ({"instances": [None]}, "not of expected type: string"),
        ({"instances": ["a", {"images": "a"}]}, "element: 0"),
        ({"instances": [{"images": "a"}, "a"]}, "keys must be equal to: images"),
        ({"instances": [{"other": "a"}]}, "keys must be equal to: images"),
        ({"instances": [{"images": "a", "b": "a"}]}, "keys must be equal to: images"),
        ({"instances": [{"b64": "e"}]}, "Unable to base64 decode"),
        ({"instances": [{"b64": "eHg=eHg="}]}, "Unable to base64 decode"),
        ({"instances": [{"b64": "/w==\u00e9"}]}, "Unable to base64 decode"),
        ({"instances": [{"b64": "__-_"}]}, "Unable to base64 decode"),
        ({"inputs": {"other": ["a"]}}, "Missing named input: images"),
    ],
)
def test_what_is_refused(document, text):
    with pytest.raises(errors.BadRequest, match=text):
        strings(document)


def test_signature_name_is_text():
    assert json_tensors.signature_name({"signature_name": "classify"}) == "classify"
    assert json_tensors.signature_name({}) == ""
    with pytest.raises(errors.BadRequest, match="must be a string"):
        json_tensors.signature_name({"signature_name": 100})


def test_examples():
    first, second = map(
        tf.train.Example.FromString,
        json_tensors.examples(
            {
                "context": {"camera": "north", "shared": 1},
                "examples": [
                    {"image/encoded": BASE64, "sizes": [3, True], "rates": [0.5, -1.5]},
                    {"image/encoded": ["a", BASE64], "shared": 2},
                ],
            }
        ),
    )
    feature = first.features.feature
    assert feature["image/encoded"].bytes_list.value == [IMAGE]
    assert feature["camera"].bytes_list.value == [b"north"]
    assert feature["sizes"].int64_list.value == [3, 1]
    assert feature["rates"].float_list.value == [0.5, -1.5]
    assert feature["shared"].int64_list.value == [1]
    assert second.features.feature["image/encoded"].bytes_list.value == [b"a", IMAGE]
    assert second.features.feature["shared"].int64_list.value == [2]


@pytest.mark.parametrize(
    ("document", "text"),
    [
        ({}, "'examples' is expected"),
        ({"examples": {}}, "to be a list"),
        ({"examples": []}, "empty"),
        ({"examples": ["a"]}, "Example 0: must be JSON object"),
        ({"examples": [{}], "context": []}, "Context: must be JSON object"),
        ({"examples": [{}, {"a": None}]}, "Example 1: .*unexpected JSON type"),
        ({"examples": [{"a": [["b"]]}]}, "unexpected JSON type"),
        ({"examples": [{"a": {"b64": "eA==", "c": 1}}]}, "unexpected JSON type"),
        ({"examples": [{"a": ["b", 1]}]}, "several types"),
        ({"examples": [{"a": [1, 1.5]}]}, "several types"),
        ({"examples": [{"a": 1 << 63}]}, "Only int64"),
        ({"examples": [{"a": 1e39}]}, "does not fit"),
    ],
)
def test_examples_that_are_refused(document, text):
    with pytest.raises(errors.BadRequest, match=text):
        json_tensors.examples(document)


OUTPUTS = {
    "scores": np.asarray([[0.1, 0.9], [1, 0]], np.float32),
    "classes": np.asarray([[b"cat", "düne".encode()], [b"a\xff", b""]], object),
    "raw_bytes": np.asarray([IMAGE, b""], object),
}


def test_answers_in_rows():
    answer = json.loads(
        json_tensors.dump(json_tensors.predict_answer("instances", OUTPUTS))
    )
    assert answer == {
        "predictions": [
            {"classes": ["cat", "düne"], "raw_bytes": BASE64, "scores": [0.1, 0.9]},
            {"classes": ["a\ufffd", ""], "raw_bytes": {"b64": ""}, "scores": [1, 0]},
        ]
    }
    single = json_tensors.predict_answer("instances", {"scores": OUTPUTS["scores"]})
    assert json.loads(json_tensors.dump(single)) == {
        "predictions": [[0.1, 0.9], [1.0, 0.0]]
    }


def test_answers_in_columns():
    answer = json_tensors.predict_answer("inputs", OUTPUTS)
    answer = json.loads(json_tensors.dump(answer))
    assert answer["outputs"]["scores"] == [[0.1, 0.9], [1.0, 0.0]]
    assert answer["outputs"]["raw_bytes"] == [BASE64, {"b64": ""}]
    single = json_tensors.predict_answer("inputs", {"scores": OUTPUTS["scores"]})
    assert json.loads(json_tensors.dump(single)) == {
        "outputs": [[0.1, 0.9], [1.0, 0.0]]
    }


def test_floats_come_back_as_they_were():
    values = np.random.default_rng(0).random((50, 20)).astype(np.float32) ** 9
    text = json_tensors.dump(json_tensors.predict_answer("inputs", {"scores": values}))
    read = np.asarray(json.loads(text)["outputs"], np.float32)
    np.testing.assert_array_equal(read, values)
    assert len(text) < 1_000 * 16


def test_classification():
    answer = json.loads(json_tensors.dump(json_tensors.classify_answer(OUTPUTS)))
    assert answer == {
        "results": [[["cat", 0.1], ["düne", 0.9]], [["a\ufffd", 1.0], ["", 0.0]]]
    }


def test_answers_without_classes_or_scores():
    answer = json_tensors.classify_answer({"scores": OUTPUTS["scores"][:1]})
    assert json.loads(json_tensors.dump(answer)) == {
        "results": [[["", 0.1], ["", 0.9]]]
    }
    answer = json_tensors.classify_answer({"classes": OUTPUTS["classes"][:1]})
    assert json.loads(json_tensors.dump(answer)) == {
        "results": [[["cat", 0.0], ["düne", 0.0]]]
    }


def test_outputs_without_rows_are_asked_by_columns():
    outputs = {"total": np.float32(3), "scores": OUTPUTS["scores"]}
    answer = json_tensors.predict_answer("inputs", outputs)
    assert json.loads(json_tensors.dump(answer))["outputs"]["total"] == 3
    for few in (outputs, {"total": outputs["total"]}):
        with pytest.raises(errors.BadRequest, match="ask by 'inputs'"):
            json_tensors.predict_answer("instances", few)


@pytest.mark.parametrize(
    ("dtype", "value", "shape"),
    [
        ("float32", [[1, 2.5], [3, 4]], (2, 2)),
        ("float64", 1.5, ()),
        ("int32", [[1], [-2]], (2, 1)),
        ("uint8", [[[0, 255]]], (1, 1, 2)),
        ("bool", [True, False], (2,)),
        ("bfloat16", [0.5, 2], (2,)),
        ("int64", [], (0,)),
        ("string", "text", ()),
        ("string", [["a"], [BASE64]], (2, 1)),
    ],
)
def test_tensors_of_all_types_and_shapes(dtype, value, shape):
    infos = {"x": info(dtype)}
    made = json_tensors.tensors({"inputs": value}, infos)["x"]
    assert made.shape == shape
    if dtype != "string":
        assert made.dtype == tf.dtypes.as_dtype(dtype).as_numpy_dtype
        np.testing.assert_array_equal(made.astype(np.float64), np.asarray(value))


@pytest.mark.parametrize(
    ("dtype", "value", "text"),
    [
        ("float32", [1e39], "does not fit float32"),
        ("float32", ["1"], "expected type: float32"),
        ("float32", [True], "expected type: float32"),
        ("float32", [[1], [1, 2]], "expected type: float32"),
        ("float32", [None], "expected type: float32"),
        ("float32", [{"b64": ""}], "expected type: float32"),
        ("int32", [1.5], "expected type: int32"),
        ("int32", [1 << 31], "does not fit int32"),
        ("uint8", [-1], "does not fit uint8"),
        ("int64", [(1 << 64) - 1], "does not fit int64"),
        ("bool", [1], "expected type: bool"),
    ],
)
def test_numbers_that_are_refused(dtype, value, text):
    with pytest.raises(errors.BadRequest, match=text):
        json_tensors.tensors({"inputs": value}, {"x": info(dtype)})


def test_several_inputs_need_their_names():
    infos = {"x": info("float32", None), "y": info("int32", None)}
    for document in (
        {"instances": [{"x": 1, "y": 2}, {"x": 3, "y": 4}]},
        {"inputs": {"x": [1, 3], "y": [2, 4]}},
    ):
        found = json_tensors.tensors(document, infos)
        assert {name: one.tolist() for name, one in found.items()} == {
            "x": [1, 3],
            "y": [2, 4],
        }
    for document, text in (
        ({"instances": [1, 2]}, "objects with the inputs x,y"),
        ({"instances": [{"x": 1}]}, "keys must be equal to: x,y"),
        ({"inputs": {"x": [1]}}, "Missing named input: y"),
    ):
        with pytest.raises(errors.BadRequest, match=text):
            json_tensors.tensors(document, infos)


def test_a_body_is_read():
    body = '{"a": [1, -2.5, "é\\n", {"b64": "eA=="}], "b": null, "c": true}'.encode()
    assert json_tensors.parse(body, LIMITS) == {
        "a": [1, -2.5, "é\n", {"b64": "eA=="}],
        "b": None,
        "c": True,
    }


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"", "empty"),
        (b" \n", "empty"),
        (b"\xff\xfe{\x00}\x00", "Invalid document"),
        (b"\xef\xbb\xbf{}", "Invalid document"),
        (b"[1]", "Is not object"),
        (b'{"a": 1', "Invalid document"),
        (b'{"a": 1} x', "Invalid document"),
        (b'{"a": NaN}', "Invalid document"),
        (b'{"a": -Infinity}', "Invalid document"),
        (b'{"a": 1e999}', "Invalid document"),
        (b'{"a": "\\ud800"}', "Invalid document"),
        (b'{"a": ' + b"[" * 8 + b"]" * 8 + b"}", "more than 8 levels"),
        (b'{"a": ' + b"[" * 250_000, "Invalid document"),
        (b'{"a":' * 50_000, "Invalid document"),
        (b'"' + b'\\"' * 1_000, "Invalid document"),
    ],
)
def test_bodies_that_are_refused(body, text):
    with pytest.raises(errors.BadRequest, match=text) as refused:
        json_tensors.parse(body, LIMITS)
    assert refused.value.http_status == 400
    assert len(refused.value.text) < 100


def test_eight_levels_pass_and_brackets_in_strings_are_no_levels():
    body = b'{"a": ' + b"[" * 7 + b'"' + b"[{" * 50 + b'\\"[["' + b"]" * 7 + b"}"
    assert json_tensors.parse(body, LIMITS)["a"][0][0][0][0][0][0][0].count("[") == 52


@pytest.mark.parametrize("values", [b"0,", b"[],", b'"",', b"{},"])
def test_values_are_counted_before_they_are_built(values):
    body = b'{"a": [' + values * 200_000 + b"0]}"
    with pytest.raises(errors.TooLarge, match="JSON values"):
        json_tensors.parse(body, Limits(json_values=65_536))


@pytest.mark.parametrize(
    "body",
    [
        b'"' + b"\\" * 2_000_000,
        b'"' + b'\\"' * 1_000_000,
        b" " * 2_000_000,
        b"{}" + b" " * 2_000_000 + b"x",
        b'{"a": "' + b"x" * 2_000_000,
        b"1" * 2_000_000,
    ],
)
def test_time_is_linear(body):
    started = time.process_time()
    with pytest.raises((errors.BadRequest, errors.TooLarge)):
        json_tensors.parse(body, LIMITS)
    assert time.process_time() - started < 1

"""TensorFlow Serving's JSON: rows and columns, bytes and text, Examples, answers."""

import base64
import json

import numpy as np
import pytest

from serving.local_server import errors, json_tensors

IMAGE = bytes(range(256))
BASE64 = {"b64": base64.b64encode(IMAGE).decode()}


def strings(document):
    return json_tensors.strings(json_tensors.predict_body(document), "images")


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
        ({"instances": [["a"]]}, "element: 0. JSON Value is not of expected type"),
        ({"instances": [None]}, "not of expected type: string"),
        ({"instances": ["a", {"images": "a"}]}, "element: 1"),
        ({"instances": [{"images": "a"}, "a"]}, "keys must be equal to: images"),
        ({"instances": [{"other": "a"}]}, "keys must be equal to: images"),
        ({"instances": [{"images": "a", "b": "a"}]}, "keys must be equal to: images"),
        ({"instances": [{"b64": "e"}]}, "Unable to base64 decode"),
        ({"instances": [{"b64": "eHg=eHg="}]}, "Unable to base64 decode"),
        ({"instances": [{"b64": "/w==\u00e9"}]}, "Unable to base64 decode"),
        ({"instances": [{"b64": "__-_"}]}, "Unable to base64 decode"),
        ({"instances": ["\ud800"]}, "surrogate"),
        ({"inputs": "a"}, "Expecting a list"),
        ({"inputs": BASE64}, "Expecting a list"),
        ({"inputs": {"other": ["a"]}}, "Missing named input: images"),
        ({"inputs": {"images": "a"}}, "Expecting a list"),
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
    first, second = json_tensors.examples(
        {
            "context": {"camera": "north", "shared": 1},
            "examples": [
                {"image/encoded": BASE64, "sizes": [3, True], "rates": [0.5, -1.5]},
                {"image/encoded": ["a", BASE64], "shared": 2},
            ],
        }
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
        ({"examples": [{"\ud800": 1}]}, "surrogate"),
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
    assert single == {"predictions": [[0.1, 0.9], [1.0, 0.0]]}


def test_answers_in_columns():
    answer = json_tensors.predict_answer("inputs", OUTPUTS)
    assert answer["outputs"]["scores"] == [[0.1, 0.9], [1.0, 0.0]]
    assert answer["outputs"]["raw_bytes"] == [BASE64, {"b64": ""}]
    single = json_tensors.predict_answer("inputs", {"scores": OUTPUTS["scores"]})
    assert single == {"outputs": [[0.1, 0.9], [1.0, 0.0]]}


def test_floats_come_back_as_they_were():
    values = np.random.default_rng(0).random((50, 20)).astype(np.float32) ** 9
    text = json_tensors.dump(json_tensors.predict_answer("inputs", {"scores": values}))
    read = np.asarray(json.loads(text)["outputs"], np.float32)
    np.testing.assert_array_equal(read, values)
    assert len(text) < 1_000 * 16


def test_classification():
    answer = json_tensors.classify_answer(OUTPUTS)
    assert answer == {
        "results": [[["cat", 0.1], ["düne", 0.9]], [["a\ufffd", 1.0], ["", 0.0]]]
    }

"""TensorFlow Serving's JSON: bodies of requests to strings, tensors to answers.

Its documentation says `result` of a classification, its server writes `results`, and so does
this one. Reference: tensorflow/serving, g3doc/api_rest.md and util/json_tensor.cc.
"""

import binascii
import dataclasses
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from schema import signatures
from serving.local_server import errors

INSTANCES = "instances"
INPUTS = "inputs"
_BASE64 = "b64"
# String tensors of such names hold bytes; all others hold text.
_BYTES_SUFFIX = "_bytes"


@dataclasses.dataclass(frozen=True)
class PredictBody:
    """The body of a predict request, taken apart but for its tensor.

    Attributes:
      signature_name: asked for; '' for the default.
      form: 'instances', rows, or 'inputs', columns; the answer takes the same form.
      value: what stands under it.
    """

    signature_name: str
    form: str
    value: Any


def predict_body(document: Mapping[str, Any]) -> PredictBody:
    """Signature and form of a predict request.

    Raises:
      BadRequest: it has neither form, or both, or no rows.
    """
    forms = [form for form in (INSTANCES, INPUTS) if form in document]
    if not forms:
        raise errors.BadRequest("Missing 'inputs' or 'instances' key")
    if len(forms) > 1:
        raise errors.BadRequest(
            "Not formatted correctly expecting only one of 'inputs' or 'instances' keys"
            " to exist"
        )
    value = document[forms[0]]
    if forms[0] == INSTANCES:
        if not isinstance(value, list):
            raise errors.BadRequest("Expecting 'instances' to be a list")
        if not value:
            raise errors.BadRequest("No values in 'instances' list")
    return PredictBody(signature_name(document), forms[0], value)


def signature_name(document: Mapping[str, Any]) -> str:
    """The signature that a request names, or ''.

    Raises:
      BadRequest: it is not a string.
    """
    name = document.get("signature_name", "")
    if not isinstance(name, str):
        raise errors.BadRequest("'signature_name' key must be a string value.")
    return name


def strings(body: PredictBody, input_name: str) -> list[bytes]:
    """The string tensor [batch] of a predict request.

    Rows are plain values, or objects with the one input by name; columns are a list, or an
    object with one. A value is a string or {"b64": "..."}.

    Args:
      body: of the request.
      input_name: of the signature's input.

    Raises:
      BadRequest: another shape, another type, another name.
    """
    values = body.value
    if body.form == INPUTS:
        if isinstance(values, dict) and not _is_base64(values):
            if input_name not in values:
                raise errors.BadRequest(f"Missing named input: {input_name}")
            values = values[input_name]
        if not isinstance(values, list):
            raise errors.BadRequest("Expecting a list of strings in 'inputs'")
    elif _is_named(values[0]):
        values = [
            _of_row(row, input_name, place) for place, row in enumerate(body.value)
        ]
    return [_bytes(value, place) for place, value in enumerate(values)]


def _is_base64(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and len(value) == 1
        and isinstance(value.get(_BASE64), str)
    )


def _is_named(row: Any) -> bool:
    return isinstance(row, dict) and not _is_base64(row)


def _of_row(row: Any, input_name: str, place: int) -> Any:
    if not _is_named(row) or row.keys() != {input_name}:
        raise errors.BadRequest(
            f"Failed to process element: {place} of 'instances' list. Its keys must be"
            f" equal to: {input_name}"
        )
    return row[input_name]


def _bytes(value: Any, place: int) -> bytes:
    where = f"Failed to process element: {place}."
    if _is_base64(value):
        return _decoded(value[_BASE64], where)
    if not isinstance(value, str):
        raise errors.BadRequest(f"{where} JSON Value is not of expected type: string")
    return _encoded(value, where)


def _encoded(text: str, where: str) -> bytes:
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise errors.BadRequest(f"{where} Half of a surrogate pair") from error


def _decoded(text: str, where: str) -> bytes:
    """Bytes from base64; line breaks and left-out padding are taken, as there."""
    try:
        return binascii.a2b_base64(text, strict_mode=True)
    except ValueError:
        pass
    try:
        compact = "".join(text.split())
        padded = compact + "=" * (-len(compact) % 4)
        return binascii.a2b_base64(padded, strict_mode=True)
    except ValueError as error:
        raise errors.BadRequest(f"{where} Unable to base64 decode") from error


def examples(document: Mapping[str, Any]) -> list[tf.train.Example]:
    """The Examples of a classify request, its `context` merged into each.

    Raises:
      BadRequest: there are none, or a feature has a value of no or of several kinds.
    """
    rows = document.get("examples")
    if rows is None:
        raise errors.BadRequest(
            "When method is classify, key 'examples' is expected and was not found"
        )
    if not isinstance(rows, list):
        raise errors.BadRequest("Expecting 'examples' value to be a list")
    if not rows:
        raise errors.BadRequest("'examples' value is an empty list")
    context = _example(document.get("context", {}), "Context:")
    found = []
    for place, row in enumerate(rows):
        example = tf.train.Example()
        example.CopyFrom(context)
        example.MergeFrom(_example(row, f"Example {place}:"))
        found.append(example)
    return found


def _example(row: Any, where: str) -> tf.train.Example:
    if not isinstance(row, dict):
        raise errors.BadRequest(f"{where} must be JSON object")
    example = tf.train.Example()
    for name, content in row.items():
        # The name is checked too: a map of protocol buffers takes no half characters.
        _encoded(name, where)
        values = content if isinstance(content, list) else [content]
        _fill(example.features.feature[name], values, where)
    return example


def _fill(feature: tf.train.Feature, values: list[Any], where: str) -> None:
    kinds = set()
    for value in values:
        if isinstance(value, str) or _is_base64(value):
            kinds.add("bytes_list")
            feature.bytes_list.value.append(
                _encoded(value, where)
                if isinstance(value, str)
                else _decoded(value[_BASE64], where)
            )
        elif isinstance(value, int):  # and True and False, as there
            kinds.add("int64_list")
            if not -(1 << 63) <= value < 1 << 63:
                raise errors.BadRequest(f"{where} Only int64 is supported.")
            feature.int64_list.value.append(value)
        elif isinstance(value, float):
            kinds.add("float_list")
            if abs(value) > float(np.finfo(np.float32).max):
                raise errors.BadRequest(f"{where} a number does not fit in a float")
            feature.float_list.value.append(value)
        else:
            raise errors.BadRequest(f"{where} a feature has an unexpected JSON type")
    if len(kinds) > 1:
        raise errors.BadRequest(f"{where} a feature has values of several types")


def predict_answer(form: str, outputs: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """`predictions`, a row an image, or `outputs`, by name; a single tensor goes bare.

    Args:
      form: of the request.
      outputs: name -> tensor [batch, ...].
    """
    columns = {name: _plain(name, outputs[name]) for name in sorted(outputs)}
    if form == INPUTS:
        return {
            "outputs": columns if len(columns) > 1 else next(iter(columns.values()))
        }
    if len(columns) == 1:
        return {"predictions": next(iter(columns.values()))}
    rows = zip(*columns.values(), strict=True)
    return {"predictions": [dict(zip(columns, row, strict=True)) for row in rows]}


def classify_answer(outputs: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """`results`: for each Example a list of [class name, score]."""
    classes = _plain(signatures.CLASSES, outputs[signatures.CLASSES])
    scores = _plain(signatures.SCORES, outputs[signatures.SCORES])
    return {
        "results": [
            [[label, score] for label, score in zip(*row, strict=True)]
            for row in zip(classes, scores, strict=True)
        ]
    }


def dump(document: Mapping[str, Any]) -> bytes:
    """UTF-8 JSON."""
    return json.dumps(document, ensure_ascii=False).encode("utf-8", "replace")


def _plain(name: str, tensor: np.ndarray) -> Any:
    """A tensor as nested lists.

    Floats are written as short as float32 allows, as TensorFlow Serving writes them.
    """
    if not tensor.size:
        return tensor.tolist()
    if tensor.dtype == object or tensor.dtype.kind == "S":
        is_bytes = name.endswith(_BYTES_SUFFIX)
        flat = [_text(value, is_bytes) for value in tensor.ravel().tolist()]
    elif tensor.dtype == np.float32:
        flat = [float(str(value)) for value in tensor.ravel()]
    else:
        return tensor.tolist()
    return _nested(flat, tensor.shape)


def _text(value: bytes, is_bytes: bool) -> Any:
    if is_bytes:
        return {_BASE64: binascii.b2a_base64(value, newline=False).decode("ascii")}
    return value.decode("utf-8", "replace")


def _nested(flat: list[Any], shape: tuple[int, ...]) -> Any:
    if not shape:
        return flat[0]
    for width in reversed(shape[1:]):
        flat = [flat[start : start + width] for start in range(0, len(flat), width)]
    return flat

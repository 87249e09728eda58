"""TensorFlow Serving's JSON: parses the bodies of requests and writes answers.

A classification has the key `results`, as in TensorFlow Serving's code, not `result` as in its
documentation. Reference: tensorflow/serving, g3doc/api_rest.md and util/json_tensor.cc.
"""

import binascii
import contextlib
import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np
import orjson
import tensorflow as tf

from pushed_models import signatures
from serving.local_server import errors
from serving.local_server.answering import strings
from serving.local_server.batching import Tensors
from serving.local_server.limits import Limits

INSTANCES = "instances"
INPUTS = "inputs"
_BASE64 = "b64"
# String tensors of such names hold bytes; all others hold text.
_BYTES_SUFFIX = "_bytes"
# Kind of tensor -> kinds of JSON numbers that it takes; other tensors take any number.
_TAKEN_KINDS = {"i": "iu", "u": "iu", "b": "b"}


def parse(body: bytes, limits: Limits) -> dict[str, Any]:
    """The object in `body`, UTF-8.

    Raises:
      BadRequest: it is not JSON, not an object, too deep, or has a number that is not
        finite or half a surrogate pair.
      TooLarge: it has too many values.
    """
    # Before parsing: a list of empty lists takes thirty times its bytes. Each value but the
    # first of its list has a comma before it.
    if body.count(b",") >= limits.json_values:
        raise errors.TooLarge(f"more than {limits.json_values:,} JSON values")
    if not body or body.isspace():
        raise errors.BadRequest("JSON Parse error: The document is empty")
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise errors.BadRequest("JSON Parse error: Invalid document") from error
    level = [document] if isinstance(document, list | dict) else []
    for _ in range(limits.json_depth):
        level = [
            child
            for one in level
            for child in (one.values() if isinstance(one, dict) else one)
            if isinstance(child, list | dict)
        ]
    if level:
        raise errors.BadRequest(
            f"JSON Parse error: more than {limits.json_depth} levels"
        )
    if not isinstance(document, dict):
        raise errors.BadRequest("JSON Value: Is not object")
    return document


def signature_name(document: Mapping[str, Any]) -> str:
    """The signature that a request names, or ''.

    Raises:
      BadRequest: it is not a string.
    """
    name = document.get("signature_name", "")
    if not isinstance(name, str):
        raise errors.BadRequest("'signature_name' key must be a string value.")
    return name


def form_of(document: Mapping[str, Any]) -> str:
    """'instances' (rows) or 'inputs' (columns), the form of the request and its answer.

    Raises:
      BadRequest: the document has neither, or both, or no rows.
    """
    if INSTANCES not in document:
        if INPUTS not in document:
            raise errors.BadRequest("Missing 'inputs' or 'instances' key")
        return INPUTS
    if INPUTS in document:
        raise errors.BadRequest(
            "Not formatted correctly expecting only one of 'inputs' or 'instances' keys"
            " to exist"
        )
    if not isinstance(document[INSTANCES], list):
        raise errors.BadRequest("Expecting 'instances' to be a list")
    if not document[INSTANCES]:
        raise errors.BadRequest("No values in 'instances' list")
    return INSTANCES


def inputs(document: Mapping[str, Any], form: str, signature: Any) -> Tensors:
    """The tensors of a request by name; `form` is that of `form_of`, '' of classify."""
    if form:
        return tensors(document, signature.inputs)
    return dict.fromkeys(signature.inputs, strings(examples(document)))


def answer(form: str, outputs: Tensors) -> bytes:
    """The JSON of an answer; `form` as in `inputs`."""
    return dump(predict_answer(form, outputs) if form else classify_answer(outputs))


def tensors(document: Mapping[str, Any], infos: Mapping[str, Any]) -> Tensors:
    """The inputs of a predict request, by name; strings as bytes objects.

    Rows are objects with all inputs by name, or plain values of a single input; columns are
    an object with all inputs, or the tensor of a single one. A string is text or
    {"b64": "..."}. `infos` has the TensorInfo of each input.

    Raises:
      BadRequest: other names, other types, or lists of different lengths.
    """
    form = form_of(document)
    values = document[form]
    if form == INSTANCES and any(_is_named(row) for row in values):
        for place, row in enumerate(values):
            if not _is_named(row) or row.keys() != infos.keys():
                raise errors.BadRequest(
                    f"Failed to process element: {place} of 'instances' list. Its keys"
                    f" must be equal to: {','.join(sorted(infos))}"
                )
        columns = {name: [row[name] for row in values] for name in infos}
    elif form == INPUTS and _is_named(values):
        for name in infos.keys() - values.keys():
            raise errors.BadRequest(f"Missing named input: {name}")
        columns = {name: values[name] for name in infos}
    elif len(infos) == 1:
        columns = dict.fromkeys(infos, values)
    else:
        raise errors.BadRequest(
            f"Expecting objects with the inputs {','.join(sorted(infos))}"
        )
    return {name: _tensor(name, columns[name], infos[name]) for name in infos}


def _is_base64(value: Any) -> bool:
    is_single = isinstance(value, dict) and len(value) == 1
    return is_single and isinstance(value.get(_BASE64), str)


def _is_named(row: Any) -> bool:
    return isinstance(row, dict) and not _is_base64(row)


def _tensor(name: str, value: Any, info: Any) -> np.ndarray:
    dtype = tf.dtypes.as_dtype(info.dtype)
    if dtype == tf.string:
        return _strings(value)
    wrong = errors.BadRequest(
        f"input {name}: JSON Value is not of expected type: {dtype.name}"
    )
    try:
        given = np.asarray(value)
        with np.errstate(all="ignore"):
            made = given.astype(dtype.as_numpy_dtype)
    except (TypeError, ValueError) as error:
        raise wrong from error
    kinds = _TAKEN_KINDS.get(made.dtype.kind, "iuf")
    if given.size and given.dtype.kind not in kinds:
        raise wrong
    is_kept = made.dtype.kind == "b" or (
        np.array_equal(made, given)
        if made.dtype.kind in "iu"
        else np.isfinite(made.astype(np.float64)).all()
    )
    if not is_kept:
        raise errors.BadRequest(f"input {name}: a number does not fit {dtype.name}")
    return made


def _strings(value: Any) -> np.ndarray:
    shape, level = [], [value]
    while level and isinstance(level[0], list):
        shape.append(len(level[0]))
        if any(not isinstance(one, list) or len(one) != shape[-1] for one in level):
            raise errors.BadRequest("Encountered list at unexpected size")
        level = [*itertools.chain(*level)]
    return strings(_bytes(one, place) for place, one in enumerate(level)).reshape(shape)


def _bytes(value: Any, place: int) -> bytes:
    where = f"Failed to process element: {place}."
    if isinstance(value, str):
        return value.encode()
    if not _is_base64(value):
        raise errors.BadRequest(f"{where} JSON Value is not of expected type: string")
    text = value[_BASE64]
    with contextlib.suppress(ValueError):
        return binascii.a2b_base64(text, strict_mode=True)
    # Like TensorFlow Serving, takes line breaks and missing padding.
    compact = "".join(text.split())
    try:
        padding = "=" * (-len(compact) % 4)
        return binascii.a2b_base64(compact + padding, strict_mode=True)
    except ValueError as error:
        raise errors.BadRequest(f"{where} Unable to base64 decode") from error


def examples(document: Mapping[str, Any]) -> list[bytes]:
    """The serialised Examples of a classify request, its `context` merged into each.

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
    context = _example(document.get("context", {}), "Context:").SerializeToString()
    return [
        # In concatenated messages the later value of a feature wins.
        context + _example(row, f"Example {place}:").SerializeToString()
        for place, row in enumerate(rows)
    ]


def _example(row: Any, where: str) -> tf.train.Example:
    if not isinstance(row, dict):
        raise errors.BadRequest(f"{where} must be JSON object")
    example = tf.train.Example()
    for name, content in row.items():
        values = content if isinstance(content, list) else [content]
        _fill(example.features.feature[name], values, where)
    return example


def _fill(feature: tf.train.Feature, values: list[Any], where: str) -> None:
    kinds = set()
    for value in values:
        if isinstance(value, str) or _is_base64(value):
            kinds.add("bytes_list")
            feature.bytes_list.value.append(_bytes(value, 0))
        elif isinstance(value, int):  # booleans, too, as in TensorFlow Serving
            kinds.add("int64_list")
            if value >= 1 << 63:
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
    """`predictions`, a row per instance, or `outputs` by name; a single tensor has no name.

    Raises:
      BadRequest: `form` is rows, and the outputs have different numbers of them.
    """
    columns = {name: _plain(name, outputs[name]) for name in sorted(outputs)}
    only = next(iter(columns.values())) if len(columns) == 1 else None
    if form == INPUTS:
        return {"outputs": columns if only is None else only}
    lengths = {array.shape[:1] for array in outputs.values()}
    if len(lengths) != 1 or () in lengths:
        raise errors.BadRequest(
            "The outputs have no rows, or not the same number of them: ask by 'inputs'"
        )
    if only is not None:
        return {"predictions": only}
    rows = zip(*columns.values(), strict=True)
    return {"predictions": [dict(zip(columns, row, strict=True)) for row in rows]}


def classify_answer(outputs: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """`results`: for each Example a list of [class name, score]."""
    labels, scores = classifications(outputs)
    rows = zip(_plain("", labels), scores, strict=True)
    return {"results": [[[*pair] for pair in zip(*row, strict=True)] for row in rows]}


def classifications(outputs: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Labels as bytes and scores, each [batch, classes]; a signature may lack one of them."""
    shape = next(iter(outputs.values())).shape
    labels = outputs.get(signatures.CLASSES, np.full(shape, b"", object))
    return labels, outputs.get(signatures.SCORES, np.zeros(shape, np.float32))


def dump(document: Mapping[str, Any]) -> bytes:
    """UTF-8 JSON; floats have as few digits as their precision allows."""
    return orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)


def _plain(name: str, array: np.ndarray) -> Any:
    """A tensor for `dump`: an array of numbers, or lists of text."""
    if array.dtype.kind not in "OSU":
        is_known = array.dtype.kind in "biu" or array.dtype in (np.float32, np.float64)
        made = np.asarray(array if is_known else array.astype(np.float32), order="C")
        return made if made.ndim else made[()]
    is_bytes = name.endswith(_BYTES_SUFFIX)
    texts = [
        {_BASE64: binascii.b2a_base64(value, newline=False).decode("ascii")}
        if is_bytes
        else value.decode("utf-8", "replace")
        for value in array.ravel().tolist()
    ]
    return np.array(texts, object).reshape(array.shape).tolist()

"""The fresh process: loads a SavedModel, asks it, and writes down what it found.

    python -m components.infra_check MODEL RECORDED FINDINGS

It judges nothing. What it knows is on disk after every stage, so that a model which takes
the process down still tells how far it came.
"""

import json
import pathlib
import resource
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import tensorflow as tf
import tensorflow.compat.v1 as v1

from pushed_models import class_names, recorded, signatures
from schema import features
from storage import durable

# Names of the stages; sentences put them after 'while' and before 'failed'.
STARTING = "starting"
LOADING = "loading the model"
ANSWERING = "answering"
TIMING = "answering single images"
DONE = "done"

WARM_UP_CALLS = 10
# Of a hundred the p99 is all but the slowest, so one call that the machine disturbed does
# not decide alone.
TIMED_CALLS = 100


def main(arguments: Sequence[str]) -> int:
    """Probes the model that `arguments` name; 1 where it failed."""
    model, recording, file = map(pathlib.Path, arguments)
    findings: dict[str, Any] = {"stage": STARTING}
    try:
        probe(model, recorded.read(recording).encoded, findings, file)
    except Exception as error:
        traceback.print_exc()
        findings["failure"] = f"{type(error).__name__}: {_first_words(error)}"
        _write(file, findings)
        return 1
    return 0


def probe(
    model: pathlib.Path,
    encoded: Sequence[bytes],
    findings: dict[str, Any],
    file: pathlib.Path,
) -> None:
    """Loads and asks the model.

    Args:
      model: folder of the SavedModel.
      encoded: the recorded images.
      findings: takes `stage`; `load_seconds`; `signatures`, name -> {inputs, outputs,
        method}, of which the first two are name -> [dtype, dims], dims None where the rank
        is open, a dim None where it is; `labels`, those of the asset or None; `answers`,
        signature -> {alone, batch}, each output -> a row per image; `latencies_ms` of
        single images and, of a model with test-time views, `plain_latencies_ms` of the same
        without them; `peak_memory_bytes`.
      file: where they are written.
    """
    _enter(LOADING, findings, file)
    # A session, because TensorFlow Serving runs a signature's tensors in one.
    with tf.Graph().as_default(), v1.Session() as session:
        start = time.perf_counter()
        meta = v1.saved_model.load(session, [tf.saved_model.SERVING], str(model))
        findings["load_seconds"] = time.perf_counter() - start
        findings["labels"] = _labels(model)
        findings["signatures"] = {
            name: {
                "inputs": _tensors(signature.inputs),
                "outputs": _tensors(signature.outputs),
                "method": signature.method_name,
            }
            for name, signature in sorted(meta.signature_def.items())
        }
        _enter(ANSWERING, findings, file)
        examples = [_example(image) for image in encoded]
        requests = {
            signatures.SERVING_DEFAULT: examples,
            signatures.PREDICT_IMAGES: list(encoded),
            signatures.CLASSIFY: examples,
        }
        callable_ones = [
            name
            for name in signatures.INPUTS
            if can_be_asked(name, findings["signatures"])
        ]
        findings["answers"] = {
            name: _answers(session, meta.signature_def[name], name, requests[name])
            for name in callable_ones
        }
        _enter(TIMING, findings, file)
        if signatures.PREDICT_IMAGES in callable_ones:
            findings |= _latencies_ms(session, meta.signature_def, encoded)
    findings["peak_memory_bytes"] = _peak_memory_bytes()
    _enter(DONE, findings, file)


def can_be_asked(name: str, found: Mapping[str, Any]) -> bool:
    """Whether a signature is there with its input and all outputs."""
    signature = found.get(name)
    if signature is None or set(signature["inputs"]) != {signatures.INPUTS[name]}:
        return False
    ((dtype, _),) = signature["inputs"].values()
    return dtype == "string" and set(signatures.OUTPUTS[name]) <= set(
        signature["outputs"]
    )


def _first_words(error: Exception) -> str:
    """The first line of a message that says something; TensorFlow heads some with none."""
    empty = ("Graph execution error:", "Detected at node", "Node: ")
    for line in str(error).splitlines():
        if line.strip() and not line.startswith(empty):
            return line.strip()
    return "no message"


def _enter(stage: str, findings: dict[str, Any], file: pathlib.Path) -> None:
    findings["stage"] = stage
    _write(file, findings)


def _write(file: pathlib.Path, findings: Mapping[str, Any]) -> None:
    durable.write_text(file, json.dumps(findings))


def _labels(model: pathlib.Path) -> list[str] | None:
    try:
        return list(class_names.of_model(model))
    except FileNotFoundError:
        return None


def _tensors(infos: Mapping[str, Any]) -> dict[str, list[Any]]:
    shapes = {name: tf.TensorShape(infos[name].tensor_shape) for name in sorted(infos)}
    return {
        name: [
            tf.dtypes.as_dtype(infos[name].dtype).name,
            None if shape.rank is None else shape.as_list(),
        ]
        for name, shape in shapes.items()
    }


def _example(encoded: bytes) -> bytes:
    feature = tf.train.Feature(bytes_list=tf.train.BytesList(value=[encoded]))
    return tf.train.Example(
        features=tf.train.Features(feature={features.ENCODED: feature})
    ).SerializeToString()


def _answers(
    session: v1.Session, signature: Any, name: str, requests: Sequence[bytes]
) -> dict[str, dict[str, list]]:
    alone = [_ask(session, signature, name, [request]) for request in requests]
    return {
        "alone": {
            output: [row for answer in alone for row in answer[output]]
            for output in signatures.OUTPUTS[name]
        },
        "batch": _ask(session, signature, name, requests),
    }


def _ask(
    session: v1.Session, signature: Any, name: str, requests: Sequence[bytes]
) -> dict[str, list]:
    values = session.run(
        {output: signature.outputs[output].name for output in signatures.OUTPUTS[name]},
        {signature.inputs[signatures.INPUTS[name]].name: list(requests)},
    )
    rows = {output: value.tolist() for output, value in values.items()}
    if signature.outputs[signatures.CLASSES].dtype == tf.string.as_datatype_enum:
        rows[signatures.CLASSES] = [
            [label.decode(errors="replace") for label in row]
            for row in rows[signatures.CLASSES]
        ]
    return rows


def _latencies_ms(
    session: v1.Session, found: Mapping[str, Any], encoded: Sequence[bytes]
) -> dict[str, list[float]]:
    """Latencies of single images by their name in the findings.

    Calls with and without test-time views take turns: what disturbs the machine meanwhile
    disturbs both.
    """
    name = signatures.PREDICT_IMAGES
    calls: dict[str, Callable[[list[bytes]], Any]] = {
        "latencies_ms": lambda request: _ask(session, found[name], name, request)
    }
    if compared := found.get(signatures.VIEWS_COMPARED):
        plain = compared.outputs[signatures.PLAIN_PROBABILITIES].name
        images = found[name].inputs[signatures.INPUTS[name]].name
        calls["plain_latencies_ms"] = lambda request: session.run(
            plain, {images: request}
        )
    latencies: dict[str, list[float]] = {each: [] for each in calls}
    for number in range(WARM_UP_CALLS + TIMED_CALLS):
        request = [encoded[number % len(encoded)]]
        for each, call in calls.items():
            start = time.perf_counter()
            call(request)
            latencies[each].append(1000 * (time.perf_counter() - start))
    return {each: values[WARM_UP_CALLS:] for each, values in latencies.items()}


def _peak_memory_bytes() -> int:
    status = pathlib.Path("/proc/self/status")
    if status.is_file():
        # Linux hands ru_maxrss on through fork and exec: it would be the parent's.
        for line in status.read_text(encoding="utf-8").splitlines():
            if line.startswith("VmHWM:"):
                return 1024 * int(line.split()[1])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak

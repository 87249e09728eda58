"""What is looked at before a version may be served; runs in a process of its own.

From the cheap to the dear: files against the manifest, layout, operations, signatures, then
the version is loaded and asked.
"""

import dataclasses
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow.compat.v1 as v1
from google.protobuf.message import DecodeError
from grpc import StatusCode as Code

from schema import class_names, manifest, recorded, signatures, versions
from serving.local_server import ops, probe_inputs, sessions

# Stages, for the sentence about a check that did not end well: 'while ...'.
READING = "its files were read"
LOADING = "it was loaded"
ANSWERING = "it answered recorded images"

# Kernels add up in another order for another batch size: the same image rounds differently.
MAX_DIFFERENCE = 1e-4
MAX_SENTENCES = 3
MAX_SIGNS = 300
# Versions pushed by earlier releases have no other signature.
REQUIRED = (signatures.SERVING_DEFAULT, signatures.PREDICT_IMAGES)
_ABSENT = "there are no recorded answers to hold it against"
_UNLISTED = "there is no manifest to hold its files against"


class Refused(Exception):
    """A version that must not be served.

    Attributes:
      code: as TensorFlow Serving's status of a version spells it.
      reason: a sentence without paths of this machine.
    """

    def __init__(self, code: Code, reason: str):
        super().__init__(reason)
        self.code = code
        self.reason = reason


@dataclasses.dataclass(frozen=True)
class _Signature:
    """Tensors of a signature by name: dtype and dims, None where a dim is open."""

    method: str
    inputs: dict[str, tuple[str, list[int | None] | None]]
    outputs: dict[str, tuple[str, list[int | None] | None]]


def inspect(folder: pathlib.Path, enter: Callable[[str], None]) -> list[str]:
    """Checks a version.

    Args:
      folder: of the version.
      enter: called with each stage before it begins.

    Returns:
      What could not be checked, a sentence each.

    Raises:
      Refused: it must not be served.
      Exception: whatever a damaged version leads TensorFlow to; see `refusal`.
    """
    enter(READING)
    notes = []
    if manifest.exists(folder):
        _refuse_any(Code.DATA_LOSS, manifest.problems(folder))
    else:
        notes.append(_UNLISTED)
    meta_graph = _read_meta_graph(folder)
    class_names = _read_class_names(folder)
    _refuse_any(Code.FAILED_PRECONDITION, ops.problems(meta_graph))
    if ops.has_variables(meta_graph):
        _refuse_any(Code.DATA_LOSS, _missing_variables(folder))
    _refuse_any(
        Code.FAILED_PRECONDITION, signature_problems(meta_graph, len(class_names))
    )
    expected = probe_inputs.read_recorded(folder)
    if expected is None:
        notes.append(_ABSENT)
    enter(LOADING)
    with v1.Session(graph=tf.Graph()) as session:
        sessions.fill(session, meta_graph, folder)
        enter(ANSWERING)
        _ask(session, meta_graph, expected, class_names)
    return notes


def _refuse_any(code: Code, sentences: Sequence[str]) -> None:
    if sentences:
        rest = len(sentences) - MAX_SENTENCES
        more = [f"and {rest} more"] if rest > 0 else []
        raise Refused(code, "; ".join([*sentences[:MAX_SENTENCES], *more]))


def refusal(error: Exception, folder: pathlib.Path) -> Refused:
    """The refusal that an error of TensorFlow is, in a line, without the folder's path."""
    if isinstance(error, Refused):
        return error
    code = Code.INTERNAL
    if isinstance(error, tf.errors.OpError):
        code = _code(error.error_code)
    # Some messages are headed by lines that say nothing.
    empty = ("Graph execution error:", "Detected at node", "Node: ")
    lines = [line.strip() for line in str(error).splitlines()]
    told = [line for line in lines if line and not line.startswith(empty)]
    message = told[0] if told else type(error).__name__
    return Refused(code, message.replace(f"{folder}/", "")[:MAX_SIGNS])


def _code(number: int) -> Code:
    """TensorFlow's codes have the numbers of gRPC's."""
    return next((code for code in Code if code.value[0] == number), Code.UNKNOWN)


def _read_meta_graph(folder: pathlib.Path) -> Any:
    try:
        return sessions.read_meta_graph(folder)
    except LookupError as error:
        raise Refused(Code.NOT_FOUND, str(error)) from error
    except (DecodeError, OSError) as error:
        raise Refused(
            Code.DATA_LOSS, f"{versions.SAVED_MODEL_FILE} is damaged or ends early"
        ) from error


def _read_class_names(folder: pathlib.Path) -> tuple[str, ...]:
    name = f"assets/{signatures.LABELS_ASSET}"
    try:
        found = class_names.of_model(folder)
    except FileNotFoundError as error:
        raise Refused(Code.NOT_FOUND, f"{name} is missing") from error
    except (OSError, UnicodeDecodeError) as error:
        raise Refused(Code.DATA_LOSS, f"{name} cannot be read") from error
    if len(found) < 2 or len(set(found)) < len(found):
        raise Refused(
            Code.FAILED_PRECONDITION,
            f"{name} does not name two or more classes, each once",
        )
    return found


def _missing_variables(folder: pathlib.Path) -> list[str]:
    """TensorFlow loads a graph without its weights, and only its answers fail."""
    variables = folder / "variables"
    sentences = []
    if not (variables / "variables.index").is_file():
        sentences.append("variables/variables.index is missing")
    if not any(variables.glob("variables.data-*")):
        sentences.append("the weights, variables/variables.data-*, are missing")
    return sentences


def signature_problems(meta_graph: Any, num_classes: int) -> list[str]:
    """What of the signatures is not as clients expect it, a sentence each.

    Args:
      meta_graph: the proto.
      num_classes: how many classes the version names.
    """
    found = {
        name: _Signature(
            definition.method_name,
            _tensors(definition.inputs),
            _tensors(definition.outputs),
        )
        for name, definition in meta_graph.signature_def.items()
    }
    sentences = [
        f"signature {name} is missing" for name in REQUIRED if name not in found
    ]
    for name in signatures.INPUTS:
        if name in found:
            sentences += _faults(name, found[name], num_classes)
    return sentences


def _faults(name: str, found: _Signature, num_classes: int) -> list[str]:
    sentences = []
    wanted = signatures.INPUTS[name]
    if found.inputs != {wanted: ("string", [None])}:
        sentences.append(
            f"signature {name} does not take one input {wanted}, string [batch]"
        )
    for output, dtype in signatures.OUTPUTS[name].items():
        found_dtype, dims = found.outputs.get(output, ("", None))
        if found_dtype != dtype:
            sentences.append(f"signature {name} does not give {output}, {dtype}")
        elif dims not in (None, [None, None], [None, num_classes]):
            sentences.append(
                f"signature {name} gives {output} of shape {dims}, but"
                f" {signatures.LABELS_ASSET} names {num_classes} classes"
            )
    if found.method != signatures.METHODS[name]:
        sentences.append(f"signature {name} is not for {signatures.METHODS[name]}")
    return sentences


def _tensors(infos: Any) -> dict[str, tuple[str, list[int | None] | None]]:
    return {
        name: (tf.dtypes.as_dtype(info.dtype).name, _dims(info.tensor_shape))
        for name, info in infos.items()
    }


def _dims(shape: Any) -> list[int | None] | None:
    if shape.unknown_rank:
        return None
    return [None if dim.size < 0 else dim.size for dim in shape.dim]


def _ask(
    session: v1.Session,
    meta_graph: Any,
    expected: recorded.Recorded | None,
    names: tuple[str, ...],
) -> None:
    """Holds the answers of every signature against the recorded ones.

    Raises:
      Refused: an answer is not what it was, or no probabilities of the classes named.
    """
    encoded = expected.encoded if expected else [probe_inputs.gray_image()]
    for name, inputs in probe_inputs.for_signatures(encoded).items():
        if name not in meta_graph.signature_def:
            continue
        # Together, and one alone: a graph can do right by one of them only.
        found = [
            *_answers(session, meta_graph.signature_def[name], inputs, names),
            *_answers(session, meta_graph.signature_def[name], inputs[:1], names),
        ]
        if expected is not None:
            wanted = [*expected.probabilities, expected.probabilities[0]]
            _compare(name, np.asarray(found), np.asarray(wanted))


def _answers(
    session: v1.Session, signature: Any, inputs: list[bytes], names: tuple[str, ...]
) -> np.ndarray:
    """Probabilities in label order, float [inputs, num_classes], as the client reads them.

    Raises:
      Refused: classes and scores are not those of the labels, or of the probabilities.
    """
    (input_tensor,) = signature.inputs.values()
    outputs = session.run(
        {name: info.name for name, info in signature.outputs.items()},
        {input_tensor.name: inputs},
    )
    scores = outputs[signatures.SCORES]
    classes = outputs[signatures.CLASSES]
    shape = (len(inputs), len(names))
    if scores.shape != shape or classes.shape != shape:
        raise Refused(
            Code.FAILED_PRECONDITION,
            f"it answers {list(scores.shape[1:])} scores to an image, but"
            f" {signatures.LABELS_ASSET} names {len(names)} classes",
        )
    places = {name.encode(): place for place, name in enumerate(names)}
    by_label = np.full(shape, np.nan)
    for row, labels in enumerate(classes):
        if set(labels) != places.keys():
            raise Refused(
                Code.FAILED_PRECONDITION,
                f"it answers classes that {signatures.LABELS_ASSET} does not name",
            )
        by_label[row, [places[label] for label in labels]] = scores[row]
    if not np.allclose(by_label.sum(axis=1), 1, atol=1e-3):
        raise Refused(
            Code.FAILED_PRECONDITION,
            "its scores are no probabilities: they do not add up",
        )
    probabilities = outputs.get(signatures.PROBABILITIES)
    if probabilities is not None and not np.array_equal(by_label, probabilities):
        raise Refused(
            Code.FAILED_PRECONDITION,
            f"its classes are not in the order of {signatures.LABELS_ASSET}",
        )
    return by_label


def _compare(name: str, found: np.ndarray, wanted: np.ndarray) -> None:
    if found.shape != wanted.shape:
        raise Refused(
            Code.FAILED_PRECONDITION,
            f"the recorded answers are of {wanted.shape[1]} classes",
        )
    difference = float(np.abs(found - wanted).max())
    if not difference <= MAX_DIFFERENCE:
        raise Refused(
            Code.FAILED_PRECONDITION,
            f"signature {name} does not answer as training recorded it: largest"
            f" difference {difference:.1e}, at most {MAX_DIFFERENCE:g} allowed",
        )

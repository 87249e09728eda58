"""What a served model must keep, one rule and one sentence each."""

import dataclasses
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from common.rule import Rule
from pushed_models import signatures

# Name of the stock InfraValidator with TensorFlow Serving, as a setting and as a rule.
TF_SERVING = "tf_serving"
# All figures, in the artifact.
REPORT_FILE = "infra.json"
# The stock InfraValidator's marks; the artifact has one of them.
BLESSED_FILE = "INFRA_BLESSED"
NOT_BLESSED_FILE = "INFRA_NOT_BLESSED"
LOADS = "loads"
LABELS = "labels"
SIGNATURE = "signature"
CLASS_ORDER = "class_order"
MAX_DIFFERENCE = "max_difference"
MAX_LATENCY_MS = "max_latency_ms"
MAX_SIZE_MB = "max_size_mb"
# The rules with figures, which are told of a model that keeps them all.
_TOLD = (LOADS, MAX_DIFFERENCE, MAX_LATENCY_MS, MAX_SIZE_MB)
MEGABYTE = 1e6


@dataclasses.dataclass(frozen=True)
class Limits:
    """What a model must keep; it travels to the executor as JSON.

    Attributes:
      max_difference: of a probability to the Trainer's.
      max_latency_ms: p99 of single images; 0 sets no limit.
      max_size_mb: of the SavedModel's folder, in 10^6 bytes; 0 sets no limit.
      timeout_seconds: for loading, answering and timing together.
    """

    # Not 0: kernels add up in another order for another batch size, so that the same
    # image rounds differently alone and among others.
    max_difference: float = 1e-4
    max_latency_ms: float = 0.0
    max_size_mb: float = 0.0
    timeout_seconds: float = 300.0


def judge(
    findings: Mapping[str, Any],
    end: str,
    expected: np.ndarray | None,
    labels: Sequence[str],
    size_bytes: int,
    limits: Limits,
) -> list[Rule]:
    """All rules that what was found allows to judge.

    Args:
      findings: of `probe.probe`.
      end: of `fresh_process.Probed`.
      expected: the Trainer's probabilities, float32 [images, num_classes]; None where the
        model gave no answers.
      labels: class names of the contract, in label order.
      size_bytes: of the SavedModel's folder.
      limits: what must be kept.
    """
    rules = [_loads(findings, end)]
    if "signatures" in findings:
        rules.append(_labels(findings["labels"], labels))
        rules += [
            _signature(name, findings["signatures"], len(labels))
            for name in signatures.INPUTS
        ]
    if answers := findings.get("answers"):
        rules.append(_class_order(answers, labels))
        if expected is not None:
            rules.append(_answers(answers, expected, labels, limits.max_difference))
    if latencies := findings.get("latencies_ms"):
        plain = findings.get("plain_latencies_ms")
        rules.append(_latency(latencies, limits.max_latency_ms, plain))
    rules.append(_size(size_bytes, limits.max_size_mb))
    return rules


def compare(
    answers: Mapping[str, Any], expected: np.ndarray, labels: Sequence[str]
) -> np.ndarray:
    """Largest difference of each answer to the Trainer's, float64 [answers].

    An answer is an image by one signature, alone or in the batch; one of another length
    or without a number differs by infinity.

    Args:
      answers: of `probe.probe`.
      expected: the Trainer's probabilities, float32 [images, num_classes].
      labels: class names in label order.
    """
    found = [
        _difference(row, wanted)
        for answer in answers.values()
        for rows in (answer["alone"], answer["batch"])
        for row, wanted in zip(
            _padded(_probabilities(rows, labels), len(expected)),
            expected,
            strict=True,
        )
    ]
    return np.asarray(found, np.float64)


def percentile_ms(latencies: Sequence[float], percent: float) -> float:
    """Latency that `percent` of the calls keep below."""
    return float(np.percentile(latencies, percent))


def told(rules: Iterable[Mapping[str, Any]]) -> str:
    """The rules in a line: what speaks against the model, else the figures."""
    rules = list(rules)
    refusals = [rule["sentence"] for rule in rules if not rule["is_kept"]]
    known = [rule["sentence"] for rule in rules if rule["name"] in _TOLD]
    return "; ".join(refusals or known or [rule["sentence"] for rule in rules])


def _loads(findings: Mapping[str, Any], end: str) -> Rule:
    seconds = findings.get("load_seconds")
    if end:
        return Rule(LOADS, end, False, seconds)
    return Rule(LOADS, f"loaded in {seconds:.1f} s", True, seconds)


def _labels(found: Sequence[str] | None, expected: Sequence[str]) -> Rule:
    if found is None:
        return Rule(LABELS, f"asset {signatures.LABELS_ASSET} is missing", False)
    against = "labels are not those of the contract"
    if len(found) != len(expected):
        sentence = f"{against}: found {len(found)}, expected {len(expected)}"
        return Rule(LABELS, sentence, False, len(found), len(expected))
    for place, (label, wanted) in enumerate(zip(found, expected, strict=True)):
        if label != wanted:
            sentence = f"{against}: place {place} is '{label}', expected '{wanted}'"
            return Rule(LABELS, sentence, False)
    sentence = f"the {len(found)} labels are those of the contract"
    return Rule(LABELS, sentence, True, len(found), len(expected))


def _signature(name: str, found: Mapping[str, Any], num_classes: int) -> Rule:
    rule = f"{SIGNATURE} {name}"
    if name not in found:
        others = ", ".join(sorted(found)) or "none"
        sentence = f"signature '{name}' is missing: found {others}"
        return Rule(rule, sentence, False)
    wanted_inputs = {signatures.INPUTS[name]: ["string", [None]]}
    wanted_outputs = {
        output: [dtype, [None, num_classes]]
        for output, dtype in signatures.OUTPUTS[name].items()
    }
    faults = [
        *_faults(found[name]["inputs"], wanted_inputs, "takes"),
        *_faults(found[name]["outputs"], wanted_outputs, "gives"),
    ]
    method, wanted_method = found[name]["method"], signatures.METHODS[name]
    if method != wanted_method:
        faults.append(f"is for {method or 'no method'}, expected {wanted_method}")
    if faults:
        return Rule(rule, f"signature '{name}' {'; '.join(faults)}", False)
    outputs = ", ".join(signatures.OUTPUTS[name])
    sentence = f"signature '{name}' takes {signatures.INPUTS[name]}, gives {outputs}"
    return Rule(rule, sentence, True)


def _faults(
    found: Mapping[str, Any], wanted: Mapping[str, Any], verb: str
) -> Iterator[str]:
    for tensor, kind in wanted.items():
        if tensor not in found:
            yield f"{verb} no {tensor}: found {', '.join(sorted(found)) or 'none'}"
        elif list(found[tensor]) != kind:
            yield (f"{verb} {tensor} as {_kind(found[tensor])}, expected {_kind(kind)}")
    # A further output does no harm; a further input would have to be fed.
    if verb == "takes" and (more := sorted(set(found) - set(wanted))):
        yield f"{verb} {', '.join(more)} as well"


def _kind(kind: Sequence[Any]) -> str:
    dtype, dims = kind
    if dims is None:
        return f"{dtype} of any rank"
    names = ["batch" if dim is None else str(dim) for dim in dims]
    return f"{dtype} [{', '.join(names)}]"


def _class_order(answers: Mapping[str, Any], labels: Sequence[str]) -> Rule:
    for name, answer in answers.items():
        for rows in (answer["alone"], answer["batch"]):
            for image, answered in enumerate(
                zip(
                    _probabilities(rows, labels),
                    rows[signatures.CLASSES],
                    rows[signatures.SCORES],
                    strict=True,
                )
            ):
                fault = _order_fault(*answered, labels)
                if fault:
                    sentence = f"signature '{name}', image {image}: {fault}"
                    return Rule(CLASS_ORDER, sentence, False)
    return Rule(CLASS_ORDER, "classes and probabilities have one order", True)


def _order_fault(
    probabilities: Sequence[float],
    classes: Sequence[Any],
    scores: Sequence[float],
    labels: Sequence[str],
) -> str:
    """Why an answer names its classes wrongly, or ''."""
    if len(probabilities) != len(labels):
        return f"{len(probabilities)} probabilities for {len(labels)} labels"
    if sorted(map(str, classes)) != sorted(labels):
        return "classes are not the labels"
    by_label = dict(zip(labels, probabilities, strict=True))
    best = labels[int(np.argmax(probabilities))]
    # Equal probabilities may stand in either order, so scores decide, not places.
    if by_label[classes[0]] != by_label[best]:
        return f"the most probable class is '{best}', but classes begin with '{classes[0]}'"
    for label, score in zip(classes, scores, strict=True):
        if score != by_label[label]:
            return (
                f"'{label}' has the score {score:.4f}, but the probability"
                f" {by_label[label]:.4f}"
            )
    return ""


def _probabilities(
    rows: Mapping[str, Any], labels: Sequence[str]
) -> Sequence[Sequence[float]]:
    """In label order; of a signature that gives none they are the scores of the classes."""
    if signatures.PROBABILITIES in rows:
        return rows[signatures.PROBABILITIES]
    found = []
    for classes, scores in zip(
        rows[signatures.CLASSES], rows[signatures.SCORES], strict=True
    ):
        by_class = dict(zip(map(str, classes), scores, strict=True))
        found.append([by_class.get(label, math.nan) for label in labels])
    return found


def _answers(
    answers: Mapping[str, Any],
    expected: np.ndarray,
    labels: Sequence[str],
    allowed: float,
) -> Rule:
    differences = compare(answers, expected, labels)
    equal = int(np.count_nonzero(differences <= allowed))
    largest = float(differences.max())
    text = f"{equal} of {len(differences)} answers equal those of training"
    if equal == len(differences):
        sentence = f"{text} (largest difference {largest:.1e})"
        return Rule(MAX_DIFFERENCE, sentence, True, largest, allowed)
    if math.isinf(largest):
        sentence = f"{text}: others are no probabilities of the same classes"
        return Rule(MAX_DIFFERENCE, sentence, False, None, allowed)
    sentence = f"{text}: largest difference {largest:.1e}, at most {allowed:g} allowed"
    return Rule(MAX_DIFFERENCE, sentence, False, largest, allowed)


def _padded(rows: Sequence[Any], count: int) -> list[Any]:
    """`rows`, cut or filled up with rows without answers to `count`."""
    return [*rows[:count], *([[]] * (count - len(rows)))]


def _difference(row: Sequence[float], wanted: np.ndarray) -> float:
    if len(row) != len(wanted):
        return math.inf
    difference = np.max(np.abs(np.asarray(row, np.float64) - wanted))
    return float(difference) if np.isfinite(difference) else math.inf


def _latency(
    latencies: Sequence[float], allowed: float, plain: Sequence[float] | None
) -> Rule:
    p50, p99 = (percentile_ms(latencies, percent) for percent in (50, 99))
    text = f"p99 latency {p99:.1f} ms"
    if plain:
        text += (
            f", p50 {p50:.1f} ms with test-time views (without them p99"
            f" {percentile_ms(plain, 99):.1f} ms, p50 {percentile_ms(plain, 50):.1f} ms)"
        )
    return _measured(MAX_LATENCY_MS, text, p99, allowed, "ms")


def _size(size_bytes: int, allowed: float) -> Rule:
    size = size_bytes / MEGABYTE
    return _measured(MAX_SIZE_MB, f"size {size:.1f} MB", size, allowed, "MB")


def _measured(name: str, text: str, figure: float, allowed: float, unit: str) -> Rule:
    if not allowed:
        return Rule(name, text, True, figure)
    if figure <= allowed:
        return Rule(name, f"{text} ≤ {allowed:g} {unit} allowed", True, figure, allowed)
    sentence = f"{text}, at most {allowed:g} {unit} allowed"
    return Rule(name, sentence, False, figure, allowed)

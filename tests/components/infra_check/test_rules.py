"""Rules on what a probe found, without a model."""

import math

import numpy as np
import pytest

from components.infra_check import rules

LABELS = ("cat", "dog")
EXPECTED = np.array([[0.75, 0.25], [0.5, 0.5]], np.float32)
ROWS = {
    "probabilities": [[0.75, 0.25], [0.5, 0.5]],
    # Of equal probabilities either class may come first.
    "classes": [["cat", "dog"], ["dog", "cat"]],
    "scores": [[0.75, 0.25], [0.5, 0.5]],
}


def signature(key, method="predict", **changes):
    outputs = {
        "probabilities": ["float32", [None, 2]],
        "classes": ["string", [None, 2]],
        "scores": ["float32", [None, 2]],
    }
    if method == "classify":
        del outputs["probabilities"]
    return {
        "inputs": {key: ["string", [None]]},
        "outputs": outputs | changes,
        "method": f"tensorflow/serving/{method}",
    }


def findings(rows=None, **changes):
    found = {
        "stage": "done",
        "load_seconds": 0.25,
        "labels": list(LABELS),
        "signatures": {
            "serving_default": signature("examples"),
            "predict_images": signature("images"),
            "classify": signature("inputs", "classify"),
        },
        "answers": {"predict_images": {"alone": ROWS, "batch": ROWS | (rows or {})}},
        "latencies_ms": [1.0] * 99 + [12.0],
    }
    return found | changes


def refusals(found, end="", size_bytes=3_100_000, **limits):
    judged = rules.judge(
        found, end, EXPECTED, LABELS, size_bytes, rules.Limits(**limits)
    )
    return [rule.sentence for rule in judged if not rule.is_kept]


def test_nothing_speaks_against_what_is_right() -> None:
    assert refusals(findings()) == []


@pytest.mark.parametrize(
    ("key", "kind", "sentence"),
    [
        (
            "probabilities",
            ["float32", [None, 3]],
            "gives probabilities as float32 [batch, 3], expected float32 [batch, 2]",
        ),
        (
            "probabilities",
            ["float32", [1, 2]],
            "gives probabilities as float32 [1, 2], expected float32 [batch, 2]",
        ),
        (
            "classes",
            ["int64", None],
            "gives classes as int64 of any rank, expected string [batch, 2]",
        ),
    ],
)
def test_outputs_are_as_agreed(key, kind, sentence) -> None:
    found = findings()
    found["signatures"]["predict_images"] = signature("images", **{key: kind})
    assert refusals(found) == [f"signature 'predict_images' {sentence}"]


def test_inputs_and_missing_outputs() -> None:
    found = findings()
    served = found["signatures"]["serving_default"] = signature("examples")
    served["inputs"] = {"images": ["string", [None]]}
    del served["outputs"]["scores"]
    assert refusals(found) == [
        "signature 'serving_default' takes no examples: found images; takes images as"
        " well; gives no scores: found classes, probabilities"
    ]


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        (
            {"classes": [["dog", "cat"], ["dog", "cat"]]},
            "signature 'predict_images', image 0: the most probable class is 'cat', but"
            " classes begin with 'dog'",
        ),
        (
            {"scores": [[0.75, 0.25], [0.5, 0.4]]},
            "signature 'predict_images', image 1: 'cat' has the score 0.4000, but the"
            " probability 0.5000",
        ),
        (
            {"classes": [["cat", "dog"], ["cat", "cat"]]},
            "signature 'predict_images', image 1: classes are not the labels",
        ),
    ],
)
def test_classes_and_scores_belong_together(rows, sentence) -> None:
    assert refusals(findings(rows)) == [sentence]


def test_answers_that_are_no_numbers_or_too_few() -> None:
    answer = {"alone": ROWS, "batch": ROWS | {"probabilities": [[math.nan, 0.25]]}}
    differences = rules.compare({"predict_images": answer}, EXPECTED, LABELS)
    np.testing.assert_array_equal(differences, [0, 0, math.inf, math.inf])
    # One answer for two images, of which the first is no number.
    rows = {name: values[:1] for name, values in ROWS.items()}
    rows["probabilities"] = [[math.nan, 0.25]]
    assert refusals(findings(rows))[-1] == (
        "2 of 4 answers equal those of training: others are no probabilities of the"
        " same classes"
    )


def test_scores_of_classify_are_probabilities_by_class() -> None:
    rows = {
        "classes": [["dog", "cat"], ["dog", "cat"]],
        "scores": [[0.75, 0.25], [0.5, 0.5]],
    }
    answers = {"classify": {"alone": rows, "batch": rows}}
    # The classes of the first image have changed places: each is half off.
    np.testing.assert_array_equal(
        rules.compare(answers, EXPECTED, LABELS), [0.5, 0, 0.5, 0]
    )
    others = rows | {"classes": [["dog", "eel"], ["cat", "dog"]]}
    answers = {"classify": {"alone": rows, "batch": others}}
    np.testing.assert_array_equal(
        rules.compare(answers, EXPECTED, LABELS), [0.5, 0, math.inf, 0]
    )
    found = findings(answers=answers)
    assert (
        refusals(found)[0]
        == "signature 'classify', image 0: classes are not the labels"
    )


def test_limits_are_kept_to_the_last() -> None:
    p99 = np.percentile([1.0] * 99 + [12.0], 99)
    assert refusals(findings(), max_latency_ms=p99, max_size_mb=3.1) == []
    assert refusals(findings(), max_latency_ms=1, max_size_mb=2) == [
        f"p99 latency {p99:.1f} ms, at most 1 ms allowed",
        "size 3.1 MB, at most 2 MB allowed",
    ]


def test_what_a_dead_process_left_is_judged() -> None:
    found = {"stage": "starting"}
    assert refusals(found, "a fresh process died") == ["a fresh process died"]
    found = findings(labels=None)
    del found["answers"], found["latencies_ms"]
    assert refusals(found, "a fresh process died") == [
        "a fresh process died",
        "asset labels.txt is missing",
    ]


def test_told_are_figures_or_refusals() -> None:
    kept = {"name": "loads", "sentence": "loaded in 1.2 s", "is_kept": True}
    labels = {"name": "labels", "sentence": "the labels are right", "is_kept": True}
    bad = {"name": "labels", "sentence": "the labels are wrong", "is_kept": False}
    assert rules.told([kept, labels]) == "loaded in 1.2 s"
    assert rules.told([kept, bad]) == "the labels are wrong"
    assert rules.told([labels]) == "the labels are right"

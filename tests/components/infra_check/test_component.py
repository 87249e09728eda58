"""A model that can be served is blessed; each fault refuses it, in a sentence."""

import importlib.util
import json
import pathlib
import re
import sys

import pytest
import tensorflow as tf
from tfx.components.util import model_utils
from tfx.types import standard_artifacts

from components.infra_check import component, fresh_process, probe, rules
from pushed_models import signatures
from schema import contract

# Names are all that the answers of `classify` go by, so wrong ones are wrong answers.
MISNAMED = (
    "20 of 30 answers equal those of training: largest difference 9.6e-01, at most 0.0001"
    " allowed"
)


@pytest.fixture
def in_this_process(monkeypatch):
    """The probe without its own process: a fresh one takes seconds to load TensorFlow."""

    def run(model, recording, timeout_seconds):
        file = recording.with_name("findings.json")
        probe.main([str(model), str(recording), str(file)])
        findings = json.loads(file.read_text())
        end = fresh_process._end(
            1 if "failure" in findings else 0, findings, (), timeout_seconds
        )
        return fresh_process.Probed(findings, end, ())

    monkeypatch.setattr(fresh_process, "run", run)


def by_name(report):
    return {rule["name"]: rule for rule in report["rules"]}


@pytest.fixture
def check(export, recording, labels, in_this_process):
    """Function (Toy, **limits) -> report."""

    def run(toy, **limits):
        return component.check(export(toy), recording, labels, rules.Limits(**limits))

    return run


def test_a_right_model_keeps_every_rule(check, toy) -> None:
    report = check(toy(), max_latency_ms=60_000, max_size_mb=10)
    assert report["is_blessed"]
    assert report["refusals"] == []
    found = by_name(report)
    assert list(found) == [
        "loads",
        "labels",
        "signature serving_default",
        "signature predict_images",
        "signature classify",
        "class_order",
        "max_difference",
        "max_latency_ms",
        "max_size_mb",
    ]
    # Five images, by three signatures, alone and in the batch.
    assert report["answers"]["asked"] == report["answers"]["equal"] == 30
    assert report["answers"]["images"] == 5
    assert report["answers"]["largest_difference"] < 1e-6
    assert re.fullmatch(
        r"30 of 30 answers equal those of training \(largest difference \d\.\de-\d\d\)",
        found["max_difference"]["sentence"],
    )
    assert found["max_difference"]["limit"] == 1e-4
    latency = report["latency_ms"]
    assert 0 < latency["p50"] <= latency["p99"]
    assert latency["calls"] == 100
    assert report["plain_latency_ms"] is None
    assert found["max_latency_ms"]["sentence"] == (
        f"p99 latency {latency['p99']:.1f} ms ≤ 60000 ms allowed"
    )
    assert 0 < report["size_bytes"] < 100_000
    assert found["max_size_mb"]["figure"] == report["size_bytes"] / 1e6
    assert found["max_size_mb"]["sentence"] == "size 0.0 MB ≤ 10 MB allowed"
    assert found["labels"]["sentence"] == "the 3 labels are those of the contract"
    # TensorFlow alone takes more than 50 MB, and no toy takes 20 GB.
    assert 5e7 < report["peak_memory_bytes"] < 2e10
    assert report["load_seconds"] > 0


@pytest.mark.parametrize(
    ("differences", "limits", "refusals"),
    [
        (
            {"signatures": ("serving_default",)},
            {},
            [
                f"signature '{name}' is missing: found serving_default"
                for name in ("predict_images", "classify")
            ],
        ),
        (
            {"method": "tensorflow/serving/predict"},
            {},
            [
                "signature 'classify' is for tensorflow/serving/predict, expected"
                " tensorflow/serving/classify"
            ],
        ),
        (
            {"asset": None},
            {},
            ["asset labels.txt is missing"],
        ),
        (
            {"asset": ("cat", "dog", "eagle")},
            {},
            [
                "labels are not those of the contract: place 2 is 'eagle', expected"
                " 'eel'"
            ],
        ),
        (
            {"asset": ("cat", "dog")},
            {},
            ["labels are not those of the contract: found 2, expected 3"],
        ),
        (
            {"names": ("dog", "cat", "eel")},
            {},
            [
                "signature 'serving_default', image 0: the most probable class is"
                " 'cat', but classes begin with 'dog'",
                MISNAMED,
            ],
        ),
        (
            {"scores_dtype": tf.float64},
            {},
            [
                f"signature '{name}' gives scores as float64 [batch, 3], expected"
                " float32 [batch, 3]"
                for name in ("serving_default", "predict_images", "classify")
            ],
        ),
        (
            {"shift": 0.14},
            {},
            [
                "0 of 30 answers equal those of training: largest difference 1.4e-01,"
                " at most 0.0001 allowed"
            ],
        ),
        (
            {"batch_shift": 0.14},
            {},
            [
                "15 of 30 answers equal those of training: largest difference 1.4e-01,"
                " at most 0.0001 allowed"
            ],
        ),
    ],
)
def test_a_fault_refuses_in_a_sentence(
    check, toy, differences, limits, refusals
) -> None:
    report = check(toy(**differences), **limits)
    assert not report["is_blessed"]
    assert report["refusals"] == refusals


def test_labels_in_another_order_everywhere_still_differ_from_training(
    check, toy
) -> None:
    order = ("dog", "cat", "eel")
    report = check(toy(asset=order, names=order))
    assert report["refusals"] == [
        "labels are not those of the contract: place 0 is 'dog', expected 'cat'",
        "signature 'serving_default', image 0: the most probable class is 'cat', but"
        " classes begin with 'dog'",
        MISNAMED,
    ]


def test_too_slow_and_too_large(check, toy) -> None:
    report = check(toy(), max_latency_ms=1e-6, max_size_mb=0.001)
    p99, size = report["latency_ms"]["p99"], report["size_bytes"] / 1e6
    assert report["refusals"] == [
        f"p99 latency {p99:.1f} ms, at most 1e-06 ms allowed",
        f"size {size:.1f} MB, at most 0.001 MB allowed",
    ]


def test_what_views_cost_is_told(check, toy) -> None:
    """Timed beside the answers, and no answer is held against it."""
    report = check(toy(has_views=True))
    assert report["is_blessed"]
    views, plain = report["latency_ms"], report["plain_latency_ms"]
    assert plain["calls"] == views["calls"] == 100
    assert by_name(report)["max_latency_ms"]["sentence"] == (
        f"p99 latency {views['p99']:.1f} ms, p50 {views['p50']:.1f} ms with test-time views"
        f" (without them p99 {plain['p99']:.1f} ms, p50 {plain['p50']:.1f} ms)"
    )


def test_a_wider_limit_lets_a_difference_through(check, toy) -> None:
    report = check(toy(shift=0.14), max_difference=0.2)
    assert report["is_blessed"]
    assert report["answers"]["largest_difference"] == pytest.approx(0.14, abs=1e-5)


def test_half_a_model_does_not_load(recording, labels, tmp_path, in_this_process):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "saved_model.pb").write_bytes(b"graph")
    report = component.check(tmp_path / "model", recording, labels, rules.Limits())
    (refusal,) = report["refusals"]
    assert refusal.startswith("loading the model failed: OSError: Cannot parse file")
    assert report["size_bytes"] == 5
    assert report["latency_ms"] is report["answers"] is None


def test_no_recording_is_no_blessing(export, toy, labels, tmp_path, in_this_process):
    none = tmp_path / "none.tfrecord.gz"
    report = component.check(export(toy()), none, labels, rules.Limits())
    (refusal,) = report["refusals"]
    assert refusal.startswith("starting failed: NotFoundError: ")


def command(code: str) -> tuple[str, ...]:
    return sys.executable, "-c", code


@pytest.mark.parametrize(
    ("code", "timeout_seconds", "refusal"),
    [
        (
            "import os, signal, sys; print('last words', file=sys.stderr, flush=True);"
            " os.kill(os.getpid(), signal.SIGSEGV)",
            60,
            "a fresh process was killed by SIGSEGV while starting: last words",
        ),
        (
            "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
            60,
            "a fresh process was killed by SIGKILL (out of memory?) while starting",
        ),
        (
            "raise SystemExit(3)",
            60,
            "a fresh process ended with code 3 while starting",
        ),
        (
            "pass",
            60,
            "a fresh process ended with code 0 while starting",
        ),
        (
            "import time; time.sleep(600)",
            0.5,
            "a fresh process was still starting after 0.5 s and was ended",
        ),
        (
            # As the probe does before a model that never answers.
            "import pathlib, sys, time;"
            ' pathlib.Path(sys.argv[3]).write_text(\'{"stage": "answering"}\');'
            " time.sleep(600)",
            2,
            "a fresh process was still answering after 2 s and was ended",
        ),
    ],
)
def test_what_becomes_of_the_process_is_an_outcome(
    monkeypatch, tmp_path, labels, code, timeout_seconds, refusal
) -> None:
    monkeypatch.setattr(fresh_process, "COMMAND", command(code))
    report = component.check(
        tmp_path / "model",
        tmp_path / "none",
        labels,
        rules.Limits(timeout_seconds=timeout_seconds),
    )
    assert not report["is_blessed"]
    assert report["refusals"] == [refusal]
    assert [rule["name"] for rule in report["rules"]] == ["loads", "max_size_mb"]


def test_the_process_leaves_out_what_no_model_server_has(
    monkeypatch, tmp_path, labels
) -> None:
    """They can be imported here, and not where the probe runs."""
    assert fresh_process.COMMAND[-1] == "components.infra_check"
    for name in ("keras", "tf_keras", "googleapiclient"):
        assert importlib.util.find_spec(name), name
    instead = """
import runpy, sys, types

def main(arguments):
    for name in ("keras", "tf_keras", "googleapiclient"):
        try:
            __import__(name)
        except ImportError:
            print("no", name, file=sys.stderr)
    return len(arguments)

probe = types.ModuleType("components.infra_check.probe")
probe.main = main
sys.modules[probe.__name__] = probe
import components.infra_check
components.infra_check.probe = probe
runpy.run_module("components.infra_check", run_name="__main__", alter_sys=False)
"""
    monkeypatch.setattr(fresh_process, "COMMAND", command(instead))
    probed = fresh_process.run(tmp_path / "model", tmp_path / "none", 60)
    assert probed.log == ("no keras", "no tf_keras", "no googleapiclient")
    # One for each argument: the model, what was recorded, and where to write.
    assert probed.end.startswith("a fresh process ended with code 3 while starting")


def artifacts(tmp_path: pathlib.Path, recording: pathlib.Path, labels):
    model = standard_artifacts.Model()
    model.uri = str(tmp_path / "artifact")
    model_run = standard_artifacts.ModelRun()
    model_run.uri = str(recording.parent)
    schema = standard_artifacts.Schema()
    schema.uri = str(tmp_path / "schema")
    text = "".join(f'value: "{label}" ' for label in labels)
    contract.save(
        contract.Contract(
            f'feature {{ name: "image/class/text" type: BYTES domain: "c" }}'
            f' string_domain {{ name: "c" {text} }}',
            labels,
        ),
        tmp_path / "schema",
    )
    blessing = standard_artifacts.InfraBlessing()
    blessing.uri = str(tmp_path / "blessing")
    return {"model": [model], "model_run": [model_run], "schema": [schema]}, blessing


@pytest.mark.parametrize("is_right", [True, False])
def test_in_a_process_of_its_own(
    export, toy, recording, labels, tmp_path, is_right
) -> None:
    """The whole executor, with the real probe."""
    inputs, blessing = artifacts(tmp_path, recording, labels)
    export(
        toy() if is_right else toy(signatures=(signatures.PREDICT_IMAGES,)),
        tmp_path / "artifact" / "Format-Serving",
    )
    component.InfraCheck_Executor().Do(
        inputs,
        {"blessing": [blessing]},
        {"limits": '{"max_difference": 1e-5}', "source_fingerprint": ""},
    )
    assert model_utils.is_infra_validated(blessing) is is_right
    folder = pathlib.Path(blessing.uri)
    mark = "INFRA_BLESSED" if is_right else "INFRA_NOT_BLESSED"
    assert {path.name for path in folder.iterdir()} == {mark, "infra.json"}
    report = json.loads((folder / "infra.json").read_text())
    assert report["is_blessed"] is is_right
    assert (
        report["answers"]["asked"]
        == report["answers"]["equal"]
        == (30 if is_right else 10)
    )
    missing = [
        f"signature '{name}' is missing: found predict_images"
        for name in ("serving_default", "classify")
    ]
    assert report["refusals"] == ([] if is_right else missing)
    assert report["log"] == []


@pytest.mark.nightly
@pytest.mark.slow
def test_a_model_that_never_answers(recording, labels, tmp_path) -> None:
    """A loop without end in the served graph."""
    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        images = v1.placeholder(tf.string, [None])
        endless = tf.while_loop(
            lambda step: step >= 0, lambda step: step * 1, [tf.constant(1)]
        )
        rows = tf.zeros([tf.size(images), 3]) + tf.cast(endless, tf.float32)
        outputs = {
            "probabilities": rows,
            "classes": tf.strings.as_string(rows),
            "scores": rows,
        }
        writer = v1.saved_model.Builder(str(tmp_path / "model"))
        writer.add_meta_graph_and_variables(
            session,
            [tf.saved_model.SERVING],
            {
                "predict_images": v1.saved_model.predict_signature_def(
                    {"images": images}, outputs
                )
            },
        )
        writer.save()
    report = component.check(
        tmp_path / "model", recording, labels, rules.Limits(timeout_seconds=45)
    )
    assert report["refusals"][0] == (
        "a fresh process was still answering after 45 s and was ended"
    )
    # What it told before is judged all the same.
    assert "asset labels.txt is missing" in report["refusals"]

"""Damaged versions are refused, each with a reason that says what it is."""

import os
import pathlib
import shutil
import signal
import threading
import time

import grpc
import numpy as np
import pytest
import tensorflow as tf

from schema import manifest, signatures
from serving.local_server import model_check

Code = grpc.StatusCode
PB = "saved_model.pb"
DATA = "variables/variables.data-00000-of-00001"
INDEX = "variables/variables.index"
ASSET = "assets/labels.txt"
RECORDED = f"assets.extra/{signatures.RECORDED_FILE}"


@pytest.fixture(scope="module")
def good(write_model, tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("good"), 7)


@pytest.fixture
def check(checker):
    return lambda folder: checker.check(folder, model_check.fingerprint(folder))


@pytest.fixture
def version(good, tmp_path):
    return pathlib.Path(shutil.copytree(good, tmp_path / "7"))


def test_a_good_version_passes_without_a_word(check, good):
    assert check(good) == model_check.Checked()


def test_what_could_not_be_checked_is_said(check, write_model, tmp_path):
    version = write_model(tmp_path, 7, has_manifest=False, has_recorded=False)
    checked = check(version)
    assert not checked.is_refused
    assert [note.rpartition(" to ")[0] for note in checked.notes] == [
        "there is no manifest",
        "there are no recorded answers",
    ]


def test_a_version_of_earlier_releases_needs_no_classify(check, write_model, tmp_path):
    names = (signatures.SERVING_DEFAULT, signatures.PREDICT_IMAGES)
    assert not check(write_model(tmp_path, 7, signature_names=names)).is_refused


def test_other_answers_than_recorded_are_refused(check, write_model, tmp_path):
    checked = check(write_model(tmp_path, 7, bias=0.0, recorded_bias=0.01))
    assert checked.code is Code.FAILED_PRECONDITION
    assert "does not answer as training recorded it" in checked.reason
    assert not check(write_model(tmp_path, 8, recorded_bias=1e-5)).is_refused


def test_an_operation_that_writes_is_not_run(check, write_model, tmp_path):
    canary = tmp_path / "canary"

    def tamper(images):
        with tf.control_dependencies([tf.io.write_file(str(canary), "here")]):
            return tf.identity(images)

    checked = check(write_model(tmp_path / "model", 7, tamper=tamper))
    assert "the operation WriteFile," in checked.reason
    assert not canary.exists()


def test_scores_that_are_no_probabilities_are_refused(check, write_model, tmp_path):
    version = write_model(tmp_path, 7, bias=np.nan, has_recorded=False)
    assert "no probabilities" in check(version).reason


def endless(images):
    """Never ends, and the check of operations cannot know it."""
    (number,) = tf.while_loop(
        lambda number: number < 1.0, lambda number: [number * 0.5], [tf.constant(0.5)]
    )
    with tf.control_dependencies([number]):
        return tf.identity(images)


@pytest.fixture(scope="module")
def hanging(write_model, tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("hanging"), 7, tamper=endless)


def test_a_hanging_version_is_given_up_and_the_next_has_a_new_process(
    checker, monkeypatch, hanging, good
):
    assert not checker.check(good, "good").is_refused
    process = checker._process
    monkeypatch.setattr(checker, "_timeout_seconds", 2.0)
    checked = checker.check(hanging, "hanging")
    assert checked.code is Code.DEADLINE_EXCEEDED
    assert "more than 2 s and was ended while it" in checked.reason
    assert not process.is_alive()
    # What is good is remembered; a busy machine may do better the next time.
    start = time.monotonic()
    assert checker.check(good, "good") == model_check.Checked()
    assert time.monotonic() - start < 0.1
    with monkeypatch.context() as patch:
        patch.setattr(checker, "_ask", lambda folder: model_check.Checked())
        assert not checker.check(hanging, "hanging").is_refused
    checker._remembered.clear()
    monkeypatch.setattr(checker, "_timeout_seconds", 60.0)
    killing = threading.Thread(target=kill_when_answering, args=[checker])
    killing.start()
    checked = checker.check(hanging, "hanging once more")
    killing.join()
    assert checked.code is Code.INTERNAL
    assert "was ended by SIGKILL (out of memory?) while it answered" in checked.reason


def kill_when_answering(checker):
    until = time.monotonic() + 60
    while time.monotonic() < until:
        process = checker._process
        if process is not None and process._stage == "it answered recorded images":
            os.kill(process._process.pid, signal.SIGKILL)
            return
        time.sleep(0.01)


def test_a_process_that_does_not_start_is_a_refusal(monkeypatch, good):
    monkeypatch.setattr(model_check, "COMMAND", ("/nowhere/python",))
    found = model_check.ModelCheck(5)
    assert "cannot be started" in found.check(good, "x").reason
    monkeypatch.setattr(
        model_check, "COMMAND", ("sh", "-c", "echo no such module >&2; exit 3")
    )
    assert found.check(good, "y").reason == (
        "the process that checks ended with code 3 while its process started:"
        " no such module"
    )


FAKE_PROCESS = """
echo '{"is_ready": true}'
while read line; do echo '{"refusal": null, "notes": []}'; done
"""


def test_an_idle_process_ends_and_the_next_check_starts_another(monkeypatch, good):
    monkeypatch.setattr(model_check, "COMMAND", ("sh", "-c", FAKE_PROCESS))
    found = model_check.ModelCheck(60)
    found.end_if_idle(0)
    assert not found.check(good, "x").is_refused
    first = found._process
    found.end_if_idle(60)
    assert first.is_alive()
    start = time.monotonic()
    found.end_if_idle(0)
    assert not first.is_alive()
    assert not found.check(good, "y").is_refused
    assert found._process is not first
    found.end_if_idle(0)
    assert time.monotonic() - start < 3


def test_stopping_ends_a_check_under_way(monkeypatch, good):
    monkeypatch.setattr(model_check, "COMMAND", ("sleep", "60"))
    found = model_check.ModelCheck(60)
    threading.Timer(0.2, found.stop).start()
    start = time.monotonic()
    assert found.check(good, "x").is_refused
    assert found.check(good, "y").code is Code.CANCELLED
    assert time.monotonic() - start < 10


def test_the_fingerprint_changes_with_the_content_only(version):
    before = model_check.fingerprint(version)
    (version / "assets.extra" / "model_card.md").write_text("written later")
    assert model_check.fingerprint(version) == before
    with (version / "variables" / "variables.index").open("ab") as file:
        file.write(b"x")
    after = model_check.fingerprint(version)
    assert after != before
    manifest.write(version)
    assert model_check.fingerprint(version) not in (before, after)

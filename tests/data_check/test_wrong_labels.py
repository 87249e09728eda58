"""Labels that are likely wrong, from made-up probabilities."""

import sys

import numpy as np
import pytest

from common.errors import ConfigError, DataError
from data_check import wrong_labels
from data_check.wrong_labels import WrongLabel

NAMES = ("cat", "dog", "owl")
KEYS = [f"{number}.png" for number in range(60)]


@pytest.fixture
def labels():
    return np.arange(60) % 3


@pytest.fixture
def probabilities(labels):
    """A model that knows every image; float32 [60, 3]."""
    sure = np.full((60, 3), 0.05, np.float32)
    sure[np.arange(60), labels] = 0.9
    return sure


def test_ranks_the_most_doubtful_first(labels, probabilities):
    # Numbers 6 (a cat) and 10 (a dog) are in fact owls, and 10 is the surer of the two.
    probabilities[6] = (0.03, 0.02, 0.95)
    probabilities[10] = (0.01, 0.01, 0.98)
    found = wrong_labels.find_wrong_labels(KEYS, labels, probabilities, NAMES)
    assert found == (
        WrongLabel("10.png", "dog", "owl", 0.01),
        WrongLabel("6.png", "cat", "owl", 0.03),
    )


def test_finds_nothing_where_the_model_agrees(labels, probabilities):
    assert wrong_labels.find_wrong_labels(KEYS, labels, probabilities, NAMES) == ()


def test_a_class_without_images_does_no_harm(labels, probabilities):
    is_seen = labels != 1
    kept = [key for key, seen in zip(KEYS, is_seen, strict=True) if seen]
    probabilities[0] = (0.05, 0.0, 0.95)
    found = wrong_labels.find_wrong_labels(
        kept, labels[is_seen], probabilities[is_seen], NAMES
    )
    assert found == (WrongLabel("0.png", "cat", "owl", 0.05),)


def test_no_images_have_no_wrong_labels():
    empty = np.zeros((0, 3), np.float32)
    assert wrong_labels.find_wrong_labels([], np.zeros(0, int), empty, NAMES) == ()


def test_refuses_arrays_that_do_not_fit(labels, probabilities):
    with pytest.raises(DataError, match="do not belong to these images"):
        wrong_labels.find_wrong_labels(KEYS[1:], labels, probabilities, NAMES)
    with pytest.raises(DataError, match="unknown labels") as caught:
        wrong_labels.find_wrong_labels(KEYS, labels - 1, probabilities, NAMES)
    assert caught.value.found == "-1"
    with pytest.raises(DataError, match="invalid probabilities"):
        wrong_labels.find_wrong_labels(KEYS, labels, probabilities * 2, NAMES)


def test_without_cleanlab_says_how_to_get_it(labels, probabilities, monkeypatch):
    monkeypatch.setitem(sys.modules, "cleanlab", None)
    with pytest.raises(ConfigError, match="cleanlab, which is not installed") as caught:
        wrong_labels.find_wrong_labels(KEYS, labels, probabilities, NAMES)
    assert "'.[data]'" in caught.value.tip


def test_reads_what_a_run_said(write_evaluation, labels, probabilities, tmp_path):
    probabilities[10] = (0.01, 0.01, 0.98)
    uri = write_evaluation(tmp_path, KEYS, labels, probabilities, NAMES)
    assert wrong_labels.of_evaluation(uri) == (
        WrongLabel("10.png", "dog", "owl", 0.01),
    )


def test_refuses_an_evaluation_that_is_gone(tmp_path):
    with pytest.raises(DataError, match="predictions of the run are gone"):
        wrong_labels.of_evaluation(str(tmp_path))

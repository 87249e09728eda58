"""The checks of the load measurement find what they are for."""

import numpy as np
import pytest
import serving_load


def notes(versions, ends=None, images=None, probabilities=None) -> dict:
    count = len(versions)
    return {
        "protocols": np.zeros(count, int),
        "clients": np.zeros(count, int),
        "starts": np.arange(count, dtype=float),
        "ends": np.arange(count, dtype=float) + 0.5 if ends is None else np.array(ends),
        "versions": np.array(versions),
        "images": np.zeros(count, int) if images is None else np.array(images),
        "probabilities": np.zeros((count, 2), np.float32)
        if probabilities is None
        else np.array(probabilities, np.float32),
        "failures": np.array([], np.str_),
    }


LIVE = [(0.0, 1), (2.0, 2), (4.0, 1), (6.0, 2)]


@pytest.mark.parametrize(
    "versions, backwards",
    [
        ([1, 1, 2, 2, 1, 1, 2, 2], 0),
        ([1, 1, 1, 2, 2, 1, 1, 2], 0),  # a moment later is no going back
        ([1, 1, 2, 2, 2, 2, 2, 2], 0),  # one that was missed is none either
        ([1, 2, 1, 2, 1, 1, 2, 2], 1),  # 2 before it was asked for
        ([1, 1, 2, 1, 1, 1, 2, 2], 1),  # back to 1 before that was asked for
        ([1, 1, 3, 2, 1, 1, 2, 2], 1),  # a version that never was live
    ],
)
def test_versions_that_come_back_unasked(versions, backwards) -> None:
    assert serving_load.count_backwards(notes(versions), LIVE) == backwards


def test_answers_are_held_against_the_version_they_name() -> None:
    answers = np.array([[[0.1, 0.9], [0.2, 0.8]], [[0.6, 0.4], [0.7, 0.3]]], np.float32)
    seen = notes(
        [7, 7, 8, 8, 9],
        images=[0, 1, 0, 1, 0],
        probabilities=[
            [0.1, 0.9],
            [0.7, 0.3],
            [0.6, 0.4],
            [0.70002, 0.29998],
            [0.1, 0.9],
        ],
    )
    # The second is that of version 8, the fourth too far away, 9 was never pushed.
    assert serving_load.count_wrong(seen, answers, {7: 0, 8: 1}) == 3


def test_the_client_that_saw_least_counts() -> None:
    seen = notes([1, 2, 1, 1, 2, 2])
    seen["clients"] = np.array([0, 0, 0, 1, 1, 1])
    assert serving_load.count_changes(seen) == 1


def test_one_fault_is_enough() -> None:
    good = {"failed": 0, "wrong": 0, "backwards": 0}
    assert serving_load.is_flawless(good)
    for name in good:
        assert not serving_load.is_flawless(good | {name: 1})

"""Intervals against published values and against simulation."""

import numpy as np
import pytest
from scipy import stats

from components.model_evaluator import intervals


def test_wilson_of_a_published_example() -> None:
    """Newcombe, Statist. Med. 17 (1998), table I: 81 of 263."""
    low, high = intervals.of_share(81, 263)
    assert (low, high) == pytest.approx((0.2553, 0.3662), abs=5e-5)


def test_shares_at_the_ends_have_an_interval_within_0_and_1() -> None:
    assert intervals.of_share(0, 20) == pytest.approx((0.0, 0.1611), abs=5e-5)
    assert intervals.of_share(20, 20) == pytest.approx((0.8389, 1.0), abs=5e-5)


def test_mean_is_close_to_the_normal_interval_and_always_the_same() -> None:
    values = np.random.default_rng(3).normal(2.0, 1.5, size=2000)
    low, high = intervals.of_mean(values)
    margin = stats.norm.ppf(0.975) * values.std() / np.sqrt(len(values))
    assert low == pytest.approx(values.mean() - margin, abs=0.01)
    assert high == pytest.approx(values.mean() + margin, abs=0.01)
    assert intervals.of_mean(values) == (low, high)


def test_mean_of_equal_values_is_a_point() -> None:
    assert intervals.of_mean(np.full(9, 0.5)) == (0.5, 0.5)


def test_paired_difference_by_hand() -> None:
    """100 images, 12 only the first has right, 4 only the second."""
    hits = np.array([True] * 80 + [True] * 12 + [False] * 4 + [False] * 4)
    others = np.array([True] * 80 + [False] * 12 + [True] * 4 + [False] * 4)
    gained, lost = 13 / 102, 5 / 102
    margin = 1.959964 * np.sqrt((gained + lost - (gained - lost) ** 2) / 102)
    expected = (gained - lost - margin, gained - lost + margin)
    assert intervals.of_paired_shares(hits, others) == pytest.approx(expected, abs=1e-6)


def test_paired_interval_covers_the_truth_as_often_as_it_says() -> None:
    random = np.random.default_rng(11)
    covered = 0
    for _ in range(400):
        base = random.random(300)
        hits, others = base < 0.90, (base + 0.02 * random.normal(size=300)) < 0.87
        low, high = intervals.of_paired_shares(hits, others)
        truth = 0.90 - 0.87
        covered += low <= truth <= high
    assert 0.92 <= covered / 400 <= 0.99


@pytest.mark.parametrize(
    ("gained", "lost", "p_value"),
    [(0, 0, 1.0), (5, 5, 1.0), (10, 0, 2 * 0.5**10), (8, 2, 0.109375)],
)
def test_mcnemar(gained: int, lost: int, p_value: float) -> None:
    hits = np.array([True] * gained + [False] * lost + [True] * 30)
    others = np.array([False] * gained + [True] * lost + [True] * 30)
    assert intervals.mcnemar(hits, others) == pytest.approx(p_value)

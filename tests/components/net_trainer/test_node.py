"""A training in words."""

from typing import Any

from components.net_trainer import node as trained
from trainer.weights import store


def result(**changes: Any) -> dict[str, Any]:
    return {
        "net": "efficientnet_lite0",
        "steps": 1200,
        "resumed_at": 0,
        "best": {"step": 800, "weights": "ema", "top_1": 0.98765},
        "head_top_1": None,
    } | changes


def test_a_net_that_was_trained() -> None:
    assert trained.in_short(result()) == (
        "1,200 steps, best at 800: eval top-1 0.9877 (ema weights)"
    )


def test_a_training_that_went_on() -> None:
    assert trained.in_short(result(resumed_at=1000)) == (
        "1,200 steps, resumed at 1,000, best at 800: eval top-1 0.9877 (ema weights)"
    )


def test_a_class_layer_alone() -> None:
    best = {"step": 0, "weights": "raw", "top_1": 0.9}
    assert trained.in_short(result(steps=0, best=best, head_top_1=0.9)) == (
        "class layer fitted on features of the frozen efficientnet_lite0: eval top-1 0.9000"
    )


def test_both_figures_after_fine_tuning() -> None:
    assert trained.in_short(result(head_top_1=0.98)) == (
        "1,200 steps, best at 800: eval top-1 0.9877 (ema weights);"
        " class layer alone 0.9800"
    )


def test_results_of_older_runs_have_no_class_layer() -> None:
    old = result()
    del old["head_top_1"], old["resumed_at"]
    assert trained.in_short(old) == (
        "1,200 steps, best at 800: eval top-1 0.9877 (ema weights)"
    )


def test_weights_by_name_licence_and_hash() -> None:
    start = {
        "name": "mine",
        "source": "/photos/mine.h5",
        "licence": store.LICENCE_UNKNOWN,
        "sha256": "0123456789abcdef" * 4,
    }
    assert trained.start_in_words(start) == (
        "mine (/photos/mine.h5, licence unknown, SHA-256 0123456789ab…)"
    )


def test_views_of_the_served_model_are_told() -> None:
    assert trained.in_short(result(test_time_views="none")) == (
        "1,200 steps, best at 800: eval top-1 0.9877 (ema weights)"
    )
    assert trained.in_short(result(test_time_views="mirror")).endswith(
        "(ema weights); served with test-time views (mirror)"
    )
    layer = result(steps=0, test_time_views="mirror_shift")
    assert trained.in_short(layer).endswith(
        "0.9877; served with test-time views (mirror_shift)"
    )

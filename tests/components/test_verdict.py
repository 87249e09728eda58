"""The gate in sentences."""

import pytest

from components.model_evaluator import verdict
from pipeline import evaluation
from pipeline.config import EvaluationConfig

CONFIG = evaluation.eval_config(
    EvaluationConfig(min_top_1=0.85, max_top_1_drop=0.005), num_classes=10
)


@pytest.mark.parametrize(
    ("top_1", "baseline", "sentences"),
    [
        (
            0.9,
            None,
            [
                ("top-1 0.9000 ≥ 0.8500 required", True),
                ("no earlier model to compare with", True),
            ],
        ),
        (
            0.8,
            None,
            [
                ("top-1 0.8000, required 0.8500", False),
                ("no earlier model to compare with", True),
            ],
        ),
        (
            0.9,
            0.896,
            [
                ("top-1 0.9000 ≥ 0.8500 required", True),
                (
                    "+0.0040 against version 6 (0.8960), a drop of 0.0050 is allowed",
                    True,
                ),
            ],
        ),
        (
            0.9,
            0.91,
            [
                ("top-1 0.9000 ≥ 0.8500 required", True),
                (
                    "-0.0100 against version 6 (0.9100), more than the allowed drop"
                    " of 0.0050",
                    False,
                ),
            ],
        ),
    ],
)
def test_a_sentence_a_rule(top_1: float, baseline: float | None, sentences) -> None:
    baseline_metrics = None if baseline is None else {"top_1": baseline}
    rules = verdict._rules(CONFIG, {"top_1": top_1}, baseline_metrics, "6")
    assert rules == sentences


def test_top_5_only_where_there_are_more_than_five_classes() -> None:
    def names(num_classes: int) -> list[str]:
        config = evaluation.eval_config(EvaluationConfig(), num_classes)
        return [metric.class_name for metric in config.metrics_specs[0].metrics]

    assert "SparseTopKCategoricalAccuracy" in names(6)
    assert "SparseTopKCategoricalAccuracy" not in names(5)


def test_thresholds_hold_for_the_whole_split_only() -> None:
    """A plain threshold would be checked for every class, too."""
    top_1 = CONFIG.metrics_specs[0].metrics[0]
    assert not top_1.HasField("threshold")
    (rule,) = top_1.per_slice_thresholds
    assert not rule.slicing_specs[0].feature_keys

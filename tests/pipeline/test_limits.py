"""Limits of components, from settings of the same names."""

import dataclasses
from typing import Any

import pytest

from components.example_validator import distances
from components.infra_check import rules
from components.model_evaluator import gate
from pipeline import limits
from pipeline.config import DataConfig, EvaluationConfig, InfraConfig

# Limits of components, and the sections of their settings.
EACH = [
    (gate.Limits, EvaluationConfig),
    (rules.Limits, InfraConfig),
    (distances.Limits, DataConfig),
]
# No user changes how long the check of a served model may take.
WITHOUT_SETTING = {"timeout_seconds"}


def names(kind: Any) -> set[str]:
    return {field.name for field in dataclasses.fields(kind)}


@pytest.mark.parametrize(("kind", "section"), EACH)
def test_every_limit_is_set_by_the_setting_of_its_name(kind: Any, section: Any) -> None:
    assert names(kind) - names(section) <= WITHOUT_SETTING
    for name in names(kind) & names(section):
        changed = dataclasses.replace(section(), **{name: "a value of its own"})
        assert getattr(limits.of(kind, changed), name) == "a value of its own"


def test_a_value_in_another_form_and_a_limit_without_setting() -> None:
    found = limits.of(gate.Limits, EvaluationConfig(), floors={"class:cat": 0.8})
    assert found.floors == {"class:cat": 0.8}
    expected = rules.Limits().timeout_seconds
    assert limits.of(rules.Limits, InfraConfig()).timeout_seconds == expected

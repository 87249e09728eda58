"""The section `evaluation` of the configuration."""

from typing import get_args

import pytest

from common.errors import ConfigError
from components.model_evaluator import traits
from pipeline import config, evaluation
from pipeline.config import EvaluationConfig

LABELS = ("cat", "dog")


def test_floors_become_limits() -> None:
    limits = evaluation.limits(
        EvaluationConfig(floors=("class:cat=0.8", "size:up to 32 px=0.5"))
    )
    assert limits.floors == {"class:cat": 0.8, "size:up to 32 px": 0.5}


@pytest.mark.parametrize("text", ["cat", "class:cat", "class:cat=2", "cat=0.5", ":=1"])
def test_a_floor_that_is_none(text: str) -> None:
    with pytest.raises(ConfigError, match="has '"):
        evaluation.check(EvaluationConfig(floors=(text,)))


def test_a_floor_of_a_trait_that_is_not_measured() -> None:
    with pytest.raises(ConfigError, match="names a trait 'colour'") as caught:
        evaluation.check(EvaluationConfig(floors=("colour:gray=1",), slices=("size",)))
    assert caught.value.expected == "one of class, size"


def test_a_floor_of_a_class_that_does_not_exist_names_the_nearest() -> None:
    section = EvaluationConfig(floors=("class:catt=0.8",))
    evaluation.check(section)
    with pytest.raises(ConfigError, match="names a class 'catt'") as caught:
        evaluation.check(section, LABELS)
    assert caught.value.tip == "did you mean 'cat'?"


def test_every_trait_can_be_asked_for() -> None:
    assert set(get_args(config.Trait)) == set(traits.TRAITS)

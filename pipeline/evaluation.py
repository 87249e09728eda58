"""The section `evaluation` of the configuration, as limits of the gate."""

import math
from collections.abc import Sequence

from common.errors import ConfigError
from components.model_evaluator import gate
from pipeline import limits as from_settings
from pipeline.config import EvaluationConfig
from trainer import lookup


def limits(evaluation: EvaluationConfig) -> gate.Limits:
    """The limits of the gate.

    Raises:
      ConfigError: a floor is not 'trait:value=share', or its trait is not measured.
    """
    floors = dict(_floor(text, evaluation) for text in evaluation.floors)
    return from_settings.of(gate.Limits, evaluation, floors=floors)


def check(evaluation: EvaluationConfig, labels: Sequence[str] | None = None) -> None:
    """Checks that every floor can be measured.

    Args:
      evaluation: the section.
      labels: class names; None where they are not known yet.

    Raises:
      ConfigError: a floor cannot be parsed, or names an unknown trait or class.
    """
    for slice_name in limits(evaluation).floors:
        trait, _, value = slice_name.partition(":")
        if trait == gate.CLASS and labels is not None and value not in labels:
            near = lookup.nearest(value, labels)
            raise ConfigError(
                f"setting 'evaluation.floors' names a class '{value}'",
                expected="a class of the contract",
                tip=f"did you mean '{near}'?" if near else "",
            )


def _floor(text: str, evaluation: EvaluationConfig) -> tuple[str, float]:
    """('class:cat', 0.8) of 'class:cat=0.8'."""
    slice_name, _, share = text.rpartition("=")
    trait, _, value = slice_name.partition(":")
    try:
        floor = float(share)
    except ValueError:
        floor = math.nan
    if not 0 <= floor <= 1 or not trait or not value:
        raise ConfigError(
            f"setting 'evaluation.floors' has '{text}'",
            expected="TRAIT:VALUE=SHARE with a share from 0 to 1, as class:cat=0.8",
        )
    known = (gate.CLASS, *evaluation.slices)
    if trait not in known:
        raise ConfigError(
            f"setting 'evaluation.floors' names a trait '{trait}'",
            expected=f"one of {', '.join(known)}",
            tip="evaluation.slices says which traits are measured",
        )
    return slice_name, floor

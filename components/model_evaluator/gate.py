"""The gate: what a model must reach, one rule and one sentence each."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from common.rule import Rule
from components.model_evaluator import scores
from schema.spelling import listed

# What the evaluation artifact holds beside TFMA's files.
VERDICT_FILE = "verdict.json"
OPEN = "open: no threshold is set, so any accuracy passes"
# From this many test images on, a class that is never found is no accident.
FOUND_IMAGES = 5
# Name of the slices by class among the traits.
CLASS = "class"
# What the gate does with a model whose class list is not that of the live one.
ALLOW = "allow"
ASK = "ask"
REFUSE = "refuse"


@dataclasses.dataclass(frozen=True)
class Limits:
    """What a model must reach; it travels to the executor as JSON.

    Attributes:
      min_top_1: of the whole split.
      max_top_1_drop: below the baseline.
      needs_real_gain: whether a model must be better than the baseline by more than the
        95 % interval of their difference.
      min_class_recall: of every class.
      min_test_images: with fewer images the result of a cross-validation, where there is
        one, is judged by `min_top_1` instead, and a drop counts only beyond noise.
      beats_guessing: whether a model must be better than one answer for all images, and
        must find every class of `FOUND_IMAGES` test images or more at least once.
      refuse_warnings: whether a warning of the training speaks against its model.
      floors: 'trait:value' -> lowest top-1 of that slice, as {'class:cat': 0.8}.
      class_changes: ALLOW, ASK or REFUSE, for classes that came or went. The gate refuses
        for ASK as for REFUSE; a run that was told to accept the changes has ALLOW instead.
    """

    min_top_1: float = 0.0
    max_top_1_drop: float = 1.0
    needs_real_gain: bool = False
    min_class_recall: float = 0.0
    min_test_images: int = 0
    beats_guessing: bool = False
    refuse_warnings: bool = False
    floors: Mapping[str, float] = dataclasses.field(default_factory=dict)
    class_changes: str = ALLOW

    @property
    def is_open(self) -> bool:
        """Whether a model passes whatever its figures.

        `class_changes` is about names, and `min_test_images` only says how others judge.
        """
        return Limits() == dataclasses.replace(
            self, class_changes=ALLOW, min_test_images=0
        )


def judge(measured: Mapping[str, Any], limits: Limits) -> list[Rule]:
    """All rules that apply.

    Args:
      measured: the figures of `verdict.measure`.
      limits: what must be reached.
    """
    rules = [_min_top_1(measured, limits), _change(measured, limits)]
    if limits.beats_guessing:
        rules += _guessing(measured, rules[0].figure)
    if limits.refuse_warnings:
        rules.append(_warnings(measured["training_warnings"]))
    rules += _class_changes(measured, limits.class_changes)
    if limits.needs_real_gain and measured["differences"]:
        rules.append(_real_gain(measured))
    if limits.min_class_recall:
        rules.append(_weakest_class(measured, limits.min_class_recall))
    rules += _floors(measured, limits.floors)
    rules += _untested(measured)
    return rules


def changes_in_words(classes: Mapping[str, Any]) -> str:
    """Which classes came and went, as 'new, without a baseline: auk; gone: emu', or ''.

    Args:
      classes: as `verdict.measure` gives them.
    """
    parts = {"new, without a baseline": classes["added"], "gone": classes["removed"]}
    return "; ".join(
        f"{title}: {listed(names)}" for title, names in parts.items() if names
    )


def untested(per_class: Mapping[str, Mapping[str, float]]) -> list[str]:
    """Names of the classes without a test image.

    Args:
      per_class: class name -> figures, as `verdict.measure` gives them.
    """
    return [name for name, row in per_class.items() if not row["support"]]


def _min_top_1(measured: Mapping[str, Any], limits: Limits) -> Rule:
    top_1, required, how = measured["metrics"]["top_1"], limits.min_top_1, ""
    crossed = measured.get("cross_validation")
    if crossed and measured["images"] < limits.min_test_images:
        top_1 = crossed["top_1"]
        count = measured["images"]
        few = "1 test image is" if count == 1 else f"{count} test images are"
        how = (
            f" by {crossed['folds']}-fold cross-validation of the class layer on"
            f" {crossed['images']} images, since {few} too few to judge by"
        )
    is_kept = top_1 >= required
    sentence = (
        f"top-1 {top_1:.4f} ≥ {required:.4f} required{how}"
        if is_kept
        else f"top-1 {top_1:.4f}, required {required:.4f}{how}"
    )
    return Rule("min_top_1", sentence, is_kept, top_1, required)


def _guessing(measured: Mapping[str, Any], top_1: float | None) -> Iterator[Rule]:
    """Whether a model has learned more than which class is the commonest.

    Args:
      measured: the figures.
      top_1: the one that `min_top_1` is compared with.
    """
    name = "beats_guessing"
    label, share = scores.majority(measured["per_class"])
    if top_1 is not None and share:
        is_kept = top_1 > share
        fact = f"{share:.4f} of the images are '{label}'"
        sentence = (
            f"top-1 {top_1:.4f} > {share:.4f}, the share of '{label}'"
            if is_kept
            else f"top-1 {top_1:.4f} is no better than one answer for all: {fact}"
        )
        # Where classes have about the same size, this says nothing.
        if not is_kept or scores.majority_in_words(measured["per_class"]):
            yield Rule(name, sentence, is_kept, top_1, share)
    missed = [
        f"'{label}' ({row['support']:,.0f} images)"
        for label, row in measured["per_class"].items()
        if row["support"] >= FOUND_IMAGES and not row["recall"]
    ]
    if missed:
        more = f" and {len(missed) - 1} more" if len(missed) > 1 else ""
        yield Rule(name, f"never found: {missed[0]}{more}", False, 0.0, 0.0)


def _warnings(sentences: Sequence[str]) -> Rule:
    sentence = "; ".join(sentences) or "the training gave no warning"
    return Rule("refuse_warnings", sentence, not sentences)


def _change(measured: Mapping[str, Any], limits: Limits) -> Rule:
    name, allowed = "max_top_1_drop", limits.max_top_1_drop
    if not measured["differences"]:
        return Rule(name, _not_compared(measured), True, limit=allowed)
    classes, difference = measured["classes"], measured["differences"]["top_1"]
    baseline, change = measured["baseline_metrics"]["top_1"], difference["difference"]
    against = f"{change:+.4f} against version {measured['baseline_version']}"
    shared = _of_shared_classes(classes)
    # A baseline that knows the answers looks better than it is.
    why = measured.get("baseline_seen")
    seen = f"; that version may have been trained on test images: {why}" if why else ""
    compared = f"{against} ({baseline:.4f}, ± {_margin(difference):.4f}){shared}"
    if classes["images"] < limits.min_test_images:
        # One image is a drop of several points: only what is beyond noise counts.
        low, high = difference["low"], difference["high"]
        sentence = (
            f"{against} ({baseline:.4f}){shared}; on {classes['images']} test images that"
            f" may be anything from {low:+.4f} to {high:+.4f}, a drop of {allowed:.4f} is"
            f" allowed{seen}"
        )
        return Rule(name, sentence, high >= -allowed, change, -allowed, baseline)
    if change >= -allowed:
        sentence = f"{compared}, a drop of {allowed:.4f} is allowed{seen}"
        return Rule(name, sentence, True, change, -allowed, baseline)
    sentence = f"{compared}, more than the allowed drop of {allowed:.4f}{seen}"
    return Rule(name, sentence, False, change, -allowed, baseline)


def _not_compared(measured: Mapping[str, Any]) -> str:
    version, classes = measured["baseline_version"], measured["classes"]
    if not classes:
        return "no earlier model to compare with"
    if classes["shared"]:
        why = "no test image has a class that both know"
    elif classes["removed"]:
        why = "the two models have no class in common"
    else:
        why = "its classes are unknown, assets/labels.txt is missing or does not fit"
    return f"not compared with version {version}: {why}"


def _of_shared_classes(classes: Mapping[str, Any]) -> str:
    """On what two models were compared, where that is not the whole split."""
    if not changes_in_words(classes):
        return ""
    count = len(classes["shared"])
    known = "the class" if count == 1 else f"the {count} classes"
    return f" on {classes['images']:,} images of {known} that both know"


def _untested(measured: Mapping[str, Any]) -> Iterator[Rule]:
    """Names the classes of which no rule can say anything."""
    if names := untested(measured["per_class"]):
        yield Rule(
            "untested_classes",
            f"no test image of {listed(names)}: top-k, macro figures, recall and"
            " floors of classes leave "
            + ("it" if len(names) == 1 else f"these {len(names)}")
            + " out",
            True,
        )


def _class_changes(measured: Mapping[str, Any], policy: str) -> Iterator[Rule]:
    classes = measured["classes"]
    if not classes or not (changes := changes_in_words(classes)):
        return
    sentence = f"the classes are not those of version {measured['baseline_version']} ({changes})"
    if policy == ASK:
        sentence += ", slimline run --accept-classes accepts that"
    elif policy == REFUSE:
        sentence += ", which evaluation.class_changes=refuse forbids"
    yield Rule("class_changes", sentence, policy == ALLOW)


def _real_gain(measured: Mapping[str, Any]) -> Rule:
    difference = measured["differences"]["top_1"]
    baseline = measured["baseline_metrics"]["top_1"]
    interval = f"[{difference['low']:+.4f}, {difference['high']:+.4f}]"
    is_kept = difference["low"] > 0
    sentence = (
        f"the gain is real: 95 % interval {interval}"
        if is_kept
        else f"no gain beyond noise: 95 % interval of the change {interval}"
    )
    return Rule("needs_real_gain", sentence, is_kept, difference["low"], 0.0, baseline)


def _weakest_class(measured: Mapping[str, Any], floor: float) -> Rule:
    recalls = sorted(
        (row["recall"], label)
        for label, row in measured["per_class"].items()
        if row["support"]
    )
    recall, label = recalls[0]
    if recall >= floor:
        sentence = f"weakest class {label} {recall:.4f} ≥ {floor:.4f} required of each"
        return Rule("min_class_recall", sentence, True, recall, floor)
    others = sum(other < floor for other, _ in recalls[1:])
    more = f" and {others} more" if others else ""
    sentence = f"class {label} {recall:.4f}{more}, required of each {floor:.4f}"
    return Rule("min_class_recall", sentence, False, recall, floor)


def _floors(measured: Mapping[str, Any], floors: Mapping[str, float]) -> Iterator[Rule]:
    for slice_name, floor in floors.items():
        trait, _, value = slice_name.partition(":")
        name = f"floors {slice_name}"
        if trait == CLASS and value in untested(measured["per_class"]):
            continue
        row = measured["slices"].get(trait, {}).get(value)
        if row is None:
            sentence = f"no test image has {trait} '{value}', a floor is set for it"
            yield Rule(name, sentence, False, None, floor)
            continue
        top_1 = row["top_1"]
        is_kept = top_1 >= floor
        limit = f" ≥ {floor:.4f} required" if is_kept else f", required {floor:.4f}"
        sentence = f"{trait} {value} {top_1:.4f}{limit}"
        yield Rule(name, sentence, is_kept, top_1, floor)


def _margin(difference: Mapping[str, float]) -> float:
    return (difference["high"] - difference["low"]) / 2

"""Each step of a model's lineage in words, and the card that goes with the model."""

import json
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from components.model_evaluator import gate, scores, views
from pipeline import infra
from pipeline.runs import trained
from pipeline.runs.lineage import DATA_FINGERPRINT, SOURCE_FINGERPRINT, Step
from report import wording
from schema import features, orientation
from storage import durable, mirror
from trainer import history

FILE = pathlib.PurePath("assets.extra", "model_card.md")
_WORST_CLASSES = 3


def sentence(step: Step) -> str:
    """What a step did; '' for steps without a sentence."""
    match step.component:
        case "ingest":
            splits = {
                name.removeprefix("images_"): count
                for name, count in step.facts.items()
                if name.startswith("images_")
            }
            in_order = sorted(splits, key=features.SPLITS.index)
            counts = " · ".join(f"{splits[name]:,} {name}" for name in in_order)
            return f"{sum(splits.values()):,} images: {counts}"
        case "train":
            result = _read(step, "model_run", history.RESULT_FILE)
            if result is None:
                return _gone(step, "model_run")
            start = result.get("start")
            from_weights = f", from {trained.start_in_words(start)}" if start else ""
            return (
                f"{result['net']}, {result['parameters']:,} parameters{from_weights}:"
                f" {trained.in_short(result)}"
            )
        case "evaluate":
            found = _read(step, "evaluation", gate.VERDICT_FILE)
            if found is None:
                return _gone(step, "evaluation")
            words = "passed" if found["is_blessed"] else "refused"
            return (
                f"test top-1 {found['metrics']['top_1']:.4f}; gate {words}:"
                f" {'; '.join(found['sentences'])}"
            )
        case "infra":
            uri = step.outputs.get("blessing")
            if not uri or not pathlib.Path(uri).is_dir():
                return _gone(step, "blessing")
            return infra.in_short(infra.read(uri))
        case "push":
            version = step.facts.get("pushed_version")
            return f"version {version}" if version else "nothing was pushed"
    return ""


def write(version: pathlib.Path, steps: Sequence[Step]) -> pathlib.Path:
    """Writes the card of a pushed version into its folder; returns the file.

    TensorFlow Serving ignores `assets.extra`.

    Args:
      version: folder of the SavedModel.
      steps: its lineage.
    """
    path = version / FILE
    path.parent.mkdir(exist_ok=True)
    durable.write_text(path, render(version, steps))
    mirror.put(path)
    return path


def render(version: pathlib.Path, steps: Sequence[Step]) -> str:
    """The card in Markdown."""
    by_name = {step.component: step for step in steps}
    found = _read(by_name["evaluate"], "evaluation", gate.VERDICT_FILE) or {}
    parts = [
        f"# Model card: {version.parent.name}, version {version.name}",
        _what_it_is(by_name, found),
        "## Figures on the test split\n\n" + _metrics(found) + _class_changes(found),
        "## Gate\n\n" + _list(found.get("sentences", ())),
        "## Where it is weak\n\n" + _weaknesses(found),
        "## Lineage\n\n" + _lineage(steps),
    ]
    return "\n\n".join(parts) + "\n"


def _what_it_is(by_name: Mapping[str, Step], found: Mapping[str, Any]) -> str:
    labels = found.get("labels", ())
    transform = by_name["transform"].properties
    rule = transform.get("orientation", orientation.RULE_BEFORE)
    preprocessing = ", ".join(
        f"{key} {value}"
        for key, value in sorted(transform.get("preprocessing", {}).items())
    )
    return _list(
        [
            f"Task: one of {len(labels)} classes for an image:"
            f" {', '.join(map(_cell, labels))}.",
            f"Training: {sentence(by_name['train'])}.",
            f"Data: {sentence(by_name['ingest'])}.",
            f"Input: encoded JPEG or PNG, {rule}; what the graph does to it:"
            f" {preprocessing}.",
            "Output: class names and probabilities. The figures hold for images like"
            " those of the test split; an image of none of the classes also gets a class.",
        ]
    )


def _metrics(found: Mapping[str, Any]) -> str:
    rows = [("metric", "value", "95 % interval", "before")]
    before = found.get("baseline_metrics") or {}
    for name, value in found.get("metrics", {}).items():
        low_high = found.get("intervals", {}).get(name)
        rows.append(
            (
                name,
                _number(value),
                " to ".join(map(_number, low_high)) if low_high else "",
                _number(before[name]) if name in before else "",
            )
        )
    if crossed := found.get("cross_validation"):
        rows.append(
            (
                f"top_1, {crossed['folds']}-fold cross-validation on"
                f" {crossed['images']} images of train and eval",
                _number(crossed["top_1"]),
                f"{_number(crossed['low'])} to {_number(crossed['high'])}",
                "",
            )
        )
    without = views.in_words(found.get("test_time_views"))
    return wording.markdown_table(rows) + (
        f"\n\nOn the same images: {without}." if without else ""
    )


def _class_changes(found: Mapping[str, Any]) -> str:
    """Which images the figures before are of, where the classes have changed."""
    classes = found.get("classes")
    if not classes or not (changes := gate.changes_in_words(classes)):
        return ""
    return (
        f"\n\nThe classes are not those of version {found['baseline_version']}"
        f" ({_cell(changes)}). The figures before are those of the"
        f" {classes['images']:,} images of classes that both models know."
    )


def _weaknesses(found: Mapping[str, Any]) -> str:
    by_class = {
        label: row
        for label, row in found.get("per_class", {}).items()
        if row["support"]
    }
    worst = sorted(by_class.items(), key=lambda item: item[1]["recall"])
    rows = [("class", "precision", "recall", "images")]
    rows += [
        (
            _cell(label),
            _number(row["precision"]),
            _number(row["recall"]),
            f"{row['support']:,}",
        )
        for label, row in worst[:_WORST_CLASSES]
    ]
    if "confusion" not in found:
        return wording.markdown_table(rows)
    confused = scores.most_confused(found["confusion"], found["labels"])
    if not confused:
        return wording.markdown_table(rows)
    true, predicted, count = confused
    return (
        f"{wording.markdown_table(rows)}\n\nMost often confused: {_cell(true)} predicted as"
        f" {_cell(predicted)}, {count:,} of {by_class[true]['support']:,} images."
    )


def _lineage(steps: Iterable[Step]) -> str:
    rows = [("step", "finished (UTC)", "what", "code", "data")]
    for step in steps:
        data = step.properties.get(DATA_FINGERPRINT, "")
        code = step.properties.get(SOURCE_FINGERPRINT, "")
        rows.append(
            (step.component, step.finished, _cell(sentence(step)), code, str(data))
        )
    return wording.markdown_table(rows)


def _read(step: Step, channel: str, file: str) -> dict[str, Any] | None:
    try:
        text = (pathlib.Path(step.outputs[channel]) / file).read_text(encoding="utf-8")
        return json.loads(text)
    except (OSError, ValueError, KeyError):
        return None


def _gone(step: Step, channel: str) -> str:
    return f"its files are gone: {step.outputs.get(channel, 'none known')}"


def _list(texts: Iterable[str]) -> str:
    return "\n".join(f"- {text}" for text in texts)


def _number(value: float) -> str:
    is_count = value > 1 and float(value).is_integer()
    return f"{value:,.0f}" if is_count else f"{value:.4f}"


def _cell(text: object) -> str:
    """Escapes names of classes, which come from folders, for a cell of a table."""
    return str(text).replace("|", "/").replace("<", "&lt;").replace("\n", " ")

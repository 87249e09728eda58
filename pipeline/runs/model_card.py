"""Each step of a model's lineage in words, and the card that goes with the model."""

import json
import pathlib
from collections.abc import Sequence
from typing import Any

from components.infra_check import node as infra
from components.model_evaluator import gate, scores
from components.net_trainer import node as trained
from pipeline.runs.lineage import Step
from report import page
from schema import features, orientation
from storage import durable, mirror
from trainer import history

FILE = pathlib.PurePath("assets.extra", "model_card.md")
_TEMPLATE = "model_card.md.jinja"
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
    transform = by_name["transform"].properties
    per_class = found.get("per_class", {})
    tested = [(label, row) for label, row in per_class.items() if row["support"]]
    classes = found.get("classes")
    confused = None
    if "confusion" in found:
        confused = scores.most_confused(found["confusion"], found["labels"])
    template = page.environment().get_template(_TEMPLATE)
    return template.render(
        model=version.parent.name,
        version=version.name,
        labels=found.get("labels", ()),
        training=sentence(by_name["train"]),
        data=sentence(by_name["ingest"]),
        rule=transform.get("orientation", orientation.RULE_BEFORE),
        preprocessing=transform.get("preprocessing", {}),
        metrics=found.get("metrics", {}),
        intervals=found.get("intervals", {}),
        before=found.get("baseline_metrics") or {},
        crossed=found.get("cross_validation"),
        without_views=scores.views_in_words(found.get("test_time_views")),
        classes=classes,
        changes=gate.changes_in_words(classes) if classes else "",
        baseline_version=found.get("baseline_version"),
        sentences=found.get("sentences", ()),
        worst=sorted(tested, key=lambda item: item[1]["recall"])[:_WORST_CLASSES],
        confused=confused,
        per_class=per_class,
        steps=[(step, sentence(step)) for step in steps],
        number=_number,
        cell=_cell,
    )


def _read(step: Step, channel: str, file: str) -> dict[str, Any] | None:
    try:
        text = (pathlib.Path(step.outputs[channel]) / file).read_text(encoding="utf-8")
        return json.loads(text)
    except (OSError, ValueError, KeyError):
        return None


def _gone(step: Step, channel: str) -> str:
    return f"its files are gone: {step.outputs.get(channel, 'none known')}"


def _number(value: float) -> str:
    is_count = value > 1 and float(value).is_integer()
    return f"{value:,.0f}" if is_count else f"{value:.4f}"


def _cell(text: object) -> str:
    """Escapes names of classes, which come from folders, for a cell of a table."""
    return str(text).replace("|", "/").replace("<", "&lt;").replace("\n", " ")

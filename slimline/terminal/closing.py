"""The end of a run in words: data, training, figures, verdict and files."""

import math
import pathlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from common import run_files
from common.errors import GateError, InfraError
from components.infra_check import rules
from components.model_evaluator import gate, scores
from components.model_pusher import node as pushed
from components.net_trainer import node as trained
from pipeline.runs import parts, runs
from slimline import verdicts
from slimline.terminal import models_text, options, output

if TYPE_CHECKING:
    from pipeline.runs.summary import Summary

MAX_CLASSES_LISTED = 10


def describe(summary: "Summary", root: pathlib.Path) -> str:
    """The closing summary, a line per fact."""
    verdict = verdicts.outcome(summary.passed, summary.refusals, summary.infra_refusals)
    facts = {
        "part": f"{summary.part}{_base(summary.base)}" if summary.part else "",
        "data": _data(summary),
        "classes": _classes(summary),
        "net": f"{summary.net}, {summary.parameters:,} parameters",
        "weights": trained.start_in_words(summary.start) if summary.start else "",
        "training": _training(summary),
        "warning": "; ".join(summary.findings),
        "test": _metrics(summary.metrics, summary.intervals)
        + _majority(summary.per_class),
        "views": scores.views_in_words(summary.test_time_views),
        "validated": _cross_validation(summary),
        "weakest": weakest(summary.per_class, summary.most_confused),
        "baseline": _baseline(summary),
        "gate": _gate(summary, verdict),
        "infra": _infra(summary),
        "push": _push(summary),
        "time": " · ".join(
            f"{name} {output.duration(seconds)}"
            for name, seconds in summary.seconds.items()
        ),
    }
    folder = pathlib.Path(summary.folder)
    unread = output.short_path(summary.quarantine) if summary.quarantine else ""
    follows = {
        "folder": output.short_place(summary.folder),
        "report": _report(folder),
        "unread": f"{unread}   (the unreadable images)" if unread else "",
        "try": try_command(summary, root),
        "undo": undo_command(summary, root),
    }
    cached = "  (nothing changed: served from the cache)" if summary.is_cached else ""
    time = output.duration(summary.total_seconds)
    conclusion = f"{runs.two_words(folder)} {verdict} in {time}{cached}"
    lines = ["", *output.facts(facts), "", conclusion, *output.facts(follows, 8, "  ")]
    return "\n".join(lines)


def describe_part(outcome: parts.Outcome) -> str:
    """The end of a run without a verdict: what each component gave."""
    folder = pathlib.Path(outcome.folder)
    details = {name: detail or "done" for name, detail in outcome.details.items()}
    log = {"log": output.short_path(str(folder / run_files.LOG_FILE))}
    return "\n".join(
        [
            "",
            *output.facts(details, 11),
            "",
            f"{runs.two_words(folder)} did its part, {outcome.part}, in"
            f" {output.duration(outcome.total_seconds)}{_base(outcome.base)}",
            "  no model was judged: there is no report, and nothing was pushed",
            *output.facts(log, 8, "  "),
        ]
    )


def _base(run: str | None) -> str:
    """What did not run, with the earlier run that it is from."""
    return f"; the rest is from {runs.two_words(pathlib.Path(run))}" if run else ""


def _gate(summary: "Summary", verdict: str) -> str:
    words = "refused" if verdict == verdicts.REFUSED else "passed"
    sentences = f"{words}: {'; '.join(summary.verdict)}"
    if not summary.is_gate_open:
        return sentences
    return f"{output.paint(gate.OPEN, 'red')}; {sentences}"


def _training(summary: "Summary") -> str:
    figure = f"eval top-1 {summary.eval_top_1:.4f}"
    if not summary.steps:
        return f"class layer only, on features of the frozen net: {figure}"
    head = ""
    if summary.head_top_1 is not None:
        head = f"; class layer alone {summary.head_top_1:.4f}"
    weights = "EMA" if summary.weights == "ema" else summary.weights
    return (
        f"{summary.steps:,} steps, best at {summary.best_step:,}: {figure}"
        f" ({weights} weights){head}"
    )


def _cross_validation(summary: "Summary") -> str:
    crossed = summary.cross_validation
    if not crossed:
        return ""
    return (
        f"top-1 {crossed['top_1']:.4f} [{crossed['low']:.3f}, {crossed['high']:.3f}]"
        f" by {crossed['folds']}-fold cross-validation on {crossed['images']} images of"
        " train and eval"
    )


def try_command(summary: "Summary", root: pathlib.Path) -> str:
    """The command that classifies an image of the run, or '' without a model."""
    if not summary.pushed_path or not summary.sample_images:
        return ""
    model = pathlib.Path(summary.pushed_path).parent
    words = ["predict", output.short_path(next(iter(summary.sample_images)))]
    if sum(path.is_dir() for path in model.parent.glob("*")) > 1:
        words += ["--model", model.name]
    return options.as_typed(*words, root=root)


def undo_command(summary: "Summary", root: pathlib.Path) -> str:
    """The command that goes back to the version before, or '' where there was none."""
    version = pathlib.Path(summary.pushed_path or "")
    back = pushed.previous(version) if summary.pushed_path else None
    if back is None:
        return ""
    return f"{models_text.undo(version.parent.name, root)}   (back to version {back})"


def refusal(summary: "Summary") -> GateError | InfraError:
    """The error of a run whose model was refused; the gate's takes precedence."""
    stays = (
        f"nothing was pushed, version {summary.baseline_version} stays live"
        if summary.baseline_version
        else "nothing was pushed"
    )
    if summary.infra_refusals and not summary.refusals:
        return InfraError(
            f"the served model failed its check: {'; '.join(summary.infra_refusals)}"
            f" ({stays})",
            tip=_raise_limits(summary.infra_rules),
        )
    tip = next(filter(None, map(_lower_bar, summary.rules)), "")
    return GateError(
        f"gate refused the model: {'; '.join(summary.refusals)} ({stays})",
        tip=f"to lower the bar on purpose: --set {tip}" if tip else "",
    )


def _lower_bar(rule: Mapping[str, Any]) -> str:
    """The setting with which a rule that refused would have passed the model, or ''."""
    name, figure = rule["name"], rule["figure"]
    limit = getattr(gate.Limits(), name, None)
    if rule["is_kept"] or figure is None or limit is None:
        return ""
    if isinstance(limit, bool):
        return f"evaluation.{name}=false"
    if name.startswith("max_"):
        return f"evaluation.{name}={math.ceil(-figure * 1000) / 1000:.3f}"
    return f"evaluation.{name}={math.floor(figure * 100) / 100:.2f}"


def _raise_limits(checked: Sequence[Mapping[str, Any]]) -> str:
    """The settings that would have let the model through; '' where none can."""
    refused = [rule for rule in checked if not rule["is_kept"]]
    if {rule["name"] for rule in refused} - {rules.MAX_LATENCY_MS, rules.MAX_SIZE_MB}:
        return ""
    settings = [
        f"--set infra.{rule['name']}={math.ceil(rule['figure'] * 10) / 10:g}"
        for rule in refused
    ]
    return f"to let it through on purpose: {' '.join(settings)}"


def _infra(summary: "Summary") -> str:
    """The check of the served model, where there was one."""
    if not summary.infra_rules:
        return ""
    words = "refused" if summary.infra_refusals else "passed"
    return f"{words}: {rules.told(summary.infra_rules)}"


def _report(folder: pathlib.Path) -> str:
    path = folder / run_files.REPORT_FILE
    if path.is_file():
        return output.short_path(str(path))
    log = output.short_path(str(folder / run_files.LOG_FILE))
    return f"could not be made; {log} says why"


def _data(summary: "Summary") -> str:
    splits = " · ".join(f"{count:,} {split}" for split, count in summary.images.items())
    return (
        f"{sum(summary.images.values()):,} images, {summary.num_classes} classes,"
        f" {summary.unreadable:,} unreadable: {splits}"
    )


def _classes(summary: "Summary") -> str:
    """Images of each class, train/eval/test; of many classes the rarest and commonest."""
    splits = summary.images_per_class.values()
    counts = {
        name: [of_split.get(name, 0) for of_split in splits]
        for name in sorted({name for of_split in splits for name in of_split})
    }
    heading = f"{'/'.join(summary.images_per_class)}:"
    if len(counts) <= MAX_CLASSES_LISTED:
        each = [f"{name} {_slashed(counts[name])}" for name in counts]
        return f"{heading} {' · '.join(each)}"
    rarest, *_, commonest = sorted(counts, key=lambda name: sum(counts[name]))
    return (
        f"{heading} from {_slashed(counts[rarest])} of {rarest}"
        f" to {_slashed(counts[commonest])} of {commonest}"
    )


def _slashed(counts: Sequence[int]) -> str:
    return "/".join(map(str, counts))


def _metrics(
    metrics: Mapping[str, float], intervals: Mapping[str, Sequence[float]] | None = None
) -> str:
    tops = [name for name in metrics if name.startswith("top_")]
    tops.sort(key=lambda name: int(name.removeprefix("top_")))
    texts = [
        f"{name.replace('_', '-')} {with_margin(name, metrics, intervals)}"
        for name in (*tops, "cross_entropy")
        if name in metrics
    ]
    if "calibration_error" in metrics:
        texts.append(f"calibration error {metrics['calibration_error']:.4f}")
    if (count := metrics.get("example_count")) is not None:
        texts.append(f"{count:,.0f} {'image' if count == 1 else 'images'}")
    return " · ".join(texts)


def _majority(per_class: Mapping[str, Mapping[str, float]]) -> str:
    """The accuracy of always answering the commonest class, to compare with."""
    majority = scores.majority_in_words(per_class)
    return f" · {majority}" if majority else ""


def with_margin(
    name: str,
    metrics: Mapping[str, float],
    intervals: Mapping[str, Sequence[float]] | None,
) -> str:
    """A metric with half the width of its interval, where it has one."""
    low, high = (intervals or {}).get(name, (0.0, 0.0))
    margin = f" ± {(high - low) / 2:.4f}" if high > low else ""
    return f"{metrics[name]:.4f}{margin}"


def weakest(
    per_class: Mapping[str, Mapping[str, float]],
    most_confused: tuple[str, str, int] | None,
) -> str:
    """The class with the lowest recall, and the commonest confusion."""
    texts = []
    if found := scores.weakest(per_class):
        texts.append(f"{found[0]} {found[1]:.4f} of its images right")
    if most_confused:
        true, predicted, count = most_confused
        images = "image" if count == 1 else "images"
        texts.append(f"most confused {true} → {predicted}, {count:,} {images}")
    return " · ".join(texts)


def _baseline(summary: "Summary") -> str:
    if not summary.baseline_version:
        return "none: there was no model before this one"
    version, changed = f"version {summary.baseline_version}", ""
    if not summary.baseline_metrics:
        return f"{version}: not compared"
    if summary.classes and (changes := gate.changes_in_words(summary.classes)):
        changed = (
            f" on {summary.classes['images']:,} images of shared classes ({changes})"
        )
    return f"{version}: {_metrics(summary.baseline_metrics)}{changed}"


def _push(summary: "Summary") -> str:
    if not summary.pushed_path:
        return "nothing was pushed"
    where = f" in {output.short_place(summary.pushed_path)}"
    return pushed.in_short(pathlib.Path(summary.pushed_path), where)

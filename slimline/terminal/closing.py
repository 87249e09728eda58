"""The end of a run in words: what it read, trained, measured, decided and left behind."""

import math
import pathlib
import shlex
import sys
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
from slimline.terminal import models_text, output
from slimline.terminal.options import DEFAULT_ROOT

if TYPE_CHECKING:
    from pipeline.runs.summary import Summary

_LABEL_WIDTH = 10
MAX_CLASSES_TOLD = 10


def describe(summary: "Summary", root: pathlib.Path) -> str:
    """The closing summary, a line a fact."""
    words = runs.two_words(pathlib.Path(summary.folder))
    verdict = verdicts.outcome(summary.passed, summary.refusals, summary.infra_refusals)
    facts = {
        **_part(summary),
        "data": _data(summary),
        "classes": _classes(summary),
        "net": f"{summary.net}, {summary.parameters:,} parameters",
        **_start(summary),
        "training": _training(summary),
        **({"warning": "; ".join(summary.findings)} if summary.findings else {}),
        "test": _metrics(summary.metrics, summary.intervals)
        + _majority(summary.per_class),
        **_views(summary),
        **_cross_validation(summary),
        "weakest": weakest(summary.per_class, summary.most_confused),
        "baseline": _baseline(summary),
        "gate": _gate(summary, verdict),
        **_infra(summary),
        "push": _push(summary),
        "time": " · ".join(
            f"{name} {output.duration(seconds)}"
            for name, seconds in summary.seconds.items()
        ),
    }
    tries = {
        "folder": output.short_place(summary.folder),
        "report": _report(pathlib.Path(summary.folder)),
    }
    if summary.quarantine:
        tries["unread"] = (
            f"{output.short_path(summary.quarantine)}   (the unreadable images)"
        )
    if attempt := try_command(summary, root):
        tries["try"] = attempt
    if undo := undo_command(summary, root):
        tries["undo"] = undo
    cached = "  (nothing changed: served from the cache)" if summary.is_cached else ""
    return "\n".join(
        [
            "",
            *(f"{label:<{_LABEL_WIDTH}}{fact}" for label, fact in facts.items()),
            "",
            f"{words} {verdict} in {output.duration(summary.total_seconds)}{cached}",
            *(f"  {label:<{_LABEL_WIDTH - 2}}{text}" for label, text in tries.items()),
        ]
    )


def describe_part(outcome: parts.Outcome) -> str:
    """The end of a run without a verdict: what each component gave."""
    words = _words(outcome.folder)
    log = output.short_path(str(pathlib.Path(outcome.folder) / run_files.LOG_FILE))
    base = f"; the rest is from {_words(outcome.base)}" if outcome.base else ""
    return "\n".join(
        [
            "",
            *(
                f"{component:<{_LABEL_WIDTH}} {detail or 'done'}"
                for component, detail in outcome.details.items()
            ),
            "",
            f"{words} did its part, {outcome.part}, in"
            f" {output.duration(outcome.total_seconds)}{base}",
            "  no model was judged: there is no report, and nothing was pushed",
            f"  {'log':<{_LABEL_WIDTH - 2}}{log}",
        ]
    )


def _gate(summary: "Summary", verdict: str) -> str:
    words = "refused" if verdict == verdicts.REFUSED else "passed"
    told = f"{words}: {'; '.join(summary.verdict)}"
    if not summary.is_gate_open:
        return told
    return f"{output.paint(gate.OPEN, 'red', sys.stdout)}; {told}"


def _part(summary: "Summary") -> dict[str, str]:
    """The line about what ran, where it was not all."""
    if not summary.part:
        return {}
    base = f"; the rest is from {_words(summary.base)}" if summary.base else ""
    return {"part": f"{summary.part}{base}"}


def _start(summary: "Summary") -> dict[str, str]:
    """The line about published weights, where training started from some."""
    return {"weights": trained.start_in_words(summary.start)} if summary.start else {}


def _training(summary: "Summary") -> str:
    figure = f"eval top-1 {summary.eval_top_1:.4f}"
    if not summary.steps:
        return f"class layer only, on features of the frozen net: {figure}"
    head = ""
    if summary.head_top_1 is not None:
        head = f"; class layer alone {summary.head_top_1:.4f}"
    return (
        f"{summary.steps:,} steps, best at {summary.best_step:,}: {figure}"
        f" ({_weights(summary.weights)} weights){head}"
    )


def _cross_validation(summary: "Summary") -> dict[str, str]:
    crossed = summary.cross_validation
    if not crossed:
        return {}
    return {
        "validated": f"top-1 {crossed['top_1']:.4f} [{crossed['low']:.3f},"
        f" {crossed['high']:.3f}] by {crossed['folds']}-fold cross-validation on"
        f" {crossed['images']} images of train and eval"
    }


def _words(run: str) -> str:
    return runs.two_words(pathlib.Path(run))


def try_command(summary: "Summary", root: pathlib.Path) -> str:
    """The command that classifies an image of the run, or '' without a model."""
    if not summary.pushed_path or not summary.sample_images:
        return ""
    version = pathlib.Path(summary.pushed_path)
    words = [
        "slimline",
        "predict",
        output.short_path(next(iter(summary.sample_images))),
    ]
    if len(_siblings(version.parent)) > 1:
        words += ["--model", version.parent.name]
    short_root = output.short_place(str(root))
    if short_root != DEFAULT_ROOT:
        words += ["--root", short_root]
    return shlex.join(words)


def undo_command(summary: "Summary", root: pathlib.Path) -> str:
    """The command that goes back to the version before, or '' where there was none."""
    if not summary.pushed_path:
        return ""
    version = pathlib.Path(summary.pushed_path)
    back = pushed.previous(version)
    if back is None:
        return ""
    return f"{models_text.undo(version.parent.name, root)}   (back to version {back})"


def refusal(summary: "Summary") -> GateError | InfraError:
    """The error of a run whose model was refused; that of the gate goes first."""
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
    """The setting with which a rule that refused would have been kept, or ''."""
    figure = rule["figure"]
    if rule["is_kept"] or figure is None:
        return ""
    match rule["name"]:
        case "max_top_1_drop":
            return f"evaluation.max_top_1_drop={math.ceil(-figure * 1000) / 1000:.3f}"
        case "needs_real_gain" | "beats_guessing" as name:
            return f"evaluation.{name}=false"
        case "min_top_1" | "min_class_recall" as name:
            return f"evaluation.{name}={math.floor(figure * 100) / 100:.2f}"
    return ""


def _raise_limits(found: Sequence[Mapping[str, Any]]) -> str:
    """The settings that would have let the model through; '' where none can."""
    refused = [rule for rule in found if not rule["is_kept"]]
    if {rule["name"] for rule in refused} - {rules.MAX_LATENCY_MS, rules.MAX_SIZE_MB}:
        return ""
    settings = [
        f"--set infra.{rule['name']}={math.ceil(rule['figure'] * 10) / 10:g}"
        for rule in refused
    ]
    return f"to let it through on purpose: {' '.join(settings)}"


def _infra(summary: "Summary") -> dict[str, str]:
    """The line about the check of the served model, where there was one."""
    if not summary.infra_rules:
        return {}
    words = "refused" if summary.infra_refusals else "passed"
    return {"infra": f"{words}: {rules.told(summary.infra_rules)}"}


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
    splits = list(summary.images_per_class)
    names = {name for counts in summary.images_per_class.values() for name in counts}
    rows = sorted(
        (sum(counts), name, "/".join(map(str, counts)))
        for name in names
        for counts in [
            [summary.images_per_class[split].get(name, 0) for split in splits]
        ]
    )
    heading = f"{'/'.join(splits)}:"
    if len(rows) <= MAX_CLASSES_TOLD:
        told = " · ".join(
            f"{name} {counts}" for _, name, counts in sorted(rows, key=lambda r: r[1])
        )
        return f"{heading} {told}"
    (_, rarest, fewest), (_, commonest, most) = rows[0], rows[-1]
    return f"{heading} from {fewest} of {rarest} to {most} of {commonest}"


def _metrics(
    metrics: Mapping[str, float], intervals: Mapping[str, Sequence[float]] | None = None
) -> str:
    told = []
    for name in sorted(metrics, key=_place):
        if name == "example_count":
            images = "image" if metrics[name] == 1 else "images"
            told.append(f"{metrics[name]:,.0f} {images}")
        elif name == "calibration_error":
            told.append(f"calibration error {metrics[name]:.4f}")
        elif name == "cross_entropy" or name.startswith("top_"):
            told.append(
                f"{name.replace('_', '-')} {with_margin(name, metrics, intervals)}"
            )
    return " · ".join(told)


def _majority(per_class: Mapping[str, Mapping[str, float]]) -> str:
    """What one answer for all images would reach, beside what the model does."""
    told = scores.majority_in_words(per_class)
    return f" · {told}" if told else ""


def with_margin(
    name: str,
    metrics: Mapping[str, float],
    intervals: Mapping[str, Sequence[float]] | None,
) -> str:
    """A metric with half the width of its interval, where it has one."""
    low, high = (intervals or {}).get(name, (0.0, 0.0))
    margin = f" ± {(high - low) / 2:.4f}" if high > low else ""
    return f"{metrics[name]:.4f}{margin}"


def _place(name: str) -> tuple[int, int]:
    """Where a metric stands: top-k by k, then the rest in this order."""
    if name.startswith("top_"):
        return 0, int(name.removeprefix("top_"))
    order = ("cross_entropy", "calibration_error", "example_count")
    return 1, order.index(name) if name in order else len(order)


def _views(summary: "Summary") -> dict[str, str]:
    """The line about the figure without test-time views, where the model has some."""
    told = scores.views_in_words(summary.test_time_views)
    return {"views": told} if told else {}


def weakest(
    per_class: Mapping[str, Mapping[str, float]],
    most_confused: tuple[str, str, int] | None,
) -> str:
    """The class with the lowest recall, and the commonest confusion."""
    found = scores.weakest(per_class)
    told = [f"{found[0]} {found[1]:.4f} of its images right"] if found else []
    if most_confused:
        true, predicted, count = most_confused
        images = "image" if count == 1 else "images"
        told.append(f"most confused {true} → {predicted}, {count:,} {images}")
    return " · ".join(told)


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


def _weights(name: str) -> str:
    return "EMA" if name == "ema" else name


def _siblings(model_folder: pathlib.Path) -> list[pathlib.Path]:
    folder = model_folder.parent
    return (
        [path for path in folder.iterdir() if path.is_dir()] if folder.is_dir() else []
    )

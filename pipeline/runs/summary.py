"""The summary of a run: its figures and verdict."""

import dataclasses
from typing import Any


@dataclasses.dataclass(frozen=True)
class Summary:
    """Outcome of one run; JSON by `dataclasses.asdict`.

    Attributes:
      run: name of the run.
      folder: its own folder, with log, configuration, history and summary.
      experiment: name of the experiment.
      passed: whether the gate blessed the model, and it can be served.
      is_cached: whether every component came from the cache.
      images: images per split.
      images_per_class: per split and class name.
      unreadable: images in quarantine.
      quarantine: file that lists them with their reasons, or None.
      num_classes: classes of the contract.
      net: name of the net.
      parameters: its trainable parameters.
      steps: updates applied.
      best_step: the update whose weights were exported.
      eval_top_1: their top-1 accuracy on eval.
      weights: 'ema' or 'raw'.
      data_fingerprint: of the content of the images' folder or archive.
      metrics: of the candidate on test (docs/evaluation.md).
      intervals: 95 % intervals of some of them, name -> [low, high].
      baseline_metrics: of the last blessed model, on test images of its classes, or None.
      baseline_version: its version, or None.
      differences: to the baseline on the same images, name -> {difference, low, high}, or
        None.
      per_class: class name -> {precision, recall, f1, support} on test.
      most_confused: true class, predicted class and images of the largest confusion, or
        None.
      rules: of the gate, as `common.rule.Rule`.
      verdict: the gate in sentences, one a rule.
      refusals: sentences of the rules that the model breaks.
      infra_rules: of the check of the served model, as `common.rule.Rule`; none where
        nothing is pushed.
      infra_refusals: sentences of those that the model breaks.
      pushed_version: version under the serving folder, or None.
      pushed_path: its folder, or None.
      seconds: per component.
      total_seconds: of the whole run.
      training_seconds: of the training, also where it came from the cache or was
        interrupted.
      sample_images: a few test images to try the model on, file -> true class.
      part: which components ran, in words; None for all.
      base: the earlier run that the others are from, or None.
      start: the published weights that training started from, as
        `trainer.weights.store.Manifest`, or None.
      head_top_1: top-1 on eval of the class layer fitted before training, or None.
      findings: of the training, in sentences: moving averages that have not converged, a
        batch that did not fit.
      is_gate_open: whether no threshold was set, so that any model passes.
      cross_validation: {top_1, low, high, images, folds} where images are few, or None.
      classes: {shared, added, removed, images}: how the classes changed since the
        baseline, and the test images on which the two were compared; None without one.
      test_time_views: {views, metrics, differences}: views that the answers average, and
        the figures on test without them; None for a model without.
    """

    run: str
    folder: str
    experiment: str
    passed: bool
    is_cached: bool
    images: dict[str, int]
    images_per_class: dict[str, dict[str, int]]
    unreadable: int
    quarantine: str | None
    num_classes: int
    net: str
    parameters: int
    steps: int
    best_step: int
    eval_top_1: float
    weights: str
    data_fingerprint: str
    metrics: dict[str, float]
    intervals: dict[str, list[float]]
    baseline_metrics: dict[str, float] | None
    baseline_version: str | None
    differences: dict[str, dict[str, float]] | None
    per_class: dict[str, dict[str, float]]
    most_confused: tuple[str, str, int] | None
    rules: list[dict[str, Any]]
    verdict: list[str]
    refusals: list[str]
    infra_rules: list[dict[str, Any]]
    infra_refusals: list[str]
    pushed_version: str | None
    pushed_path: str | None
    seconds: dict[str, float]
    total_seconds: float
    training_seconds: float
    sample_images: dict[str, str]
    part: str | None = None
    base: str | None = None
    start: dict[str, Any] | None = None
    head_top_1: float | None = None
    findings: list[str] = dataclasses.field(default_factory=list)
    is_gate_open: bool = False
    cross_validation: dict[str, Any] | None = None
    classes: dict[str, Any] | None = None
    test_time_views: dict[str, Any] | None = None

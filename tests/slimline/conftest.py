import logging
import sys
import types

import pytest

import pipeline
from pipeline.runs import parts
from pipeline.runs.summary import Summary
from slimline.cli import main

PROGRESS = logging.getLogger("slimline.progress")
# Bulk inference runs where it is asked for.
COMPONENTS = tuple(name for name in parts.COMPONENTS if name != "infer")


@pytest.fixture
def components():
    return COMPONENTS


@pytest.fixture
def make_summary():
    def make(run_folder, **changes):
        values = {
            "run": run_folder.name,
            "folder": str(run_folder),
            "experiment": "digits_resnet_20",
            "passed": True,
            "is_cached": False,
            "images": {"train": 1347, "eval": 180, "test": 270},
            "images_per_class": {
                split: {str(digit): count for digit in range(10)}
                for split, count in (("train", 134), ("eval", 18), ("test", 27))
            },
            "quarantine": None,
            "unreadable": 2,
            "num_classes": 10,
            "net": "resnet_20",
            "parameters": 269_722,
            "steps": 840,
            "best_step": 800,
            "eval_top_1": 0.985,
            "weights": "ema",
            "data_fingerprint": "8f0c",
            "metrics": {
                "top_1": 0.9812,
                "cross_entropy": 0.0512,
                "example_count": 270.0,
                "macro_f1": 0.98,
                "calibration_error": 0.0213,
            },
            "intervals": {"top_1": [0.9570, 0.9920], "cross_entropy": [0.03, 0.08]},
            "baseline_metrics": {"top_1": 0.98, "cross_entropy": 0.06},
            "baseline_version": "6",
            "differences": {
                "top_1": {"difference": 0.0012, "low": -0.01, "high": 0.012}
            },
            "per_class": {
                "3": {"precision": 1.0, "recall": 0.9259, "f1": 0.96, "support": 27},
                "8": {"precision": 0.9, "recall": 1.0, "f1": 0.95, "support": 27},
            },
            "most_confused": ("3", "8", 2),
            "rules": [
                {
                    "name": "min_top_1",
                    "sentence": "top-1 0.9812 ≥ 0.9500 required",
                    "is_kept": True,
                    "figure": 0.9812,
                    "limit": 0.95,
                    "baseline": None,
                }
            ],
            "verdict": ["top-1 0.9812 ≥ 0.9500 required", "+0.0012 against version 6"],
            "refusals": [],
            "infra_rules": [
                {
                    "name": "loads",
                    "sentence": "loaded in 1.2 s",
                    "is_kept": True,
                    "figure": 1.2,
                    "limit": None,
                },
                {
                    "name": "labels",
                    "sentence": "the 10 labels are those of the contract",
                    "is_kept": True,
                    "figure": 10,
                    "limit": 10,
                },
                {
                    "name": "max_latency_ms",
                    "sentence": "p99 latency 3.2 ms",
                    "is_kept": True,
                    "figure": 3.2,
                    "limit": None,
                },
            ],
            "infra_refusals": [],
            "pushed_version": "17",
            "pushed_path": str(run_folder.parent / "serving" / "digits" / "17"),
            "seconds": {"ingest": 3.2, "train": 80.4},
            "total_seconds": 95.0,
            "training_seconds": 80.1,
            "sample_images": {str(run_folder / "samples" / "0.png"): "3"},
        }
        return Summary(**(values | changes))

    return make


@pytest.fixture
def emit():
    """Sends a progress event as the pipeline does."""

    def send(name, **fields):
        PROGRESS.info(name, extra={"fields": fields})

    return send


@pytest.fixture
def execution(monkeypatch, make_summary, emit):
    """A pipeline that only reports; `act` is called in its midst, `changes` its outcome.

    `resolve` is called before the first component.
    """
    fake = types.ModuleType("pipeline.execution")
    fake.calls = []
    fake.changes = {}
    fake.act = lambda: None
    fake.resolve = lambda: None

    def run(config, *, root, run_folder, origins, use_cache=True):
        fake.calls.append((config, root, run_folder, origins, use_cache))
        fake.resolve()
        for component in COMPONENTS:
            emit("component_started", component=component)
            if component == "train":
                fake.act()
                for step in range(20, 841, 20):
                    emit(
                        "train",
                        step=step,
                        total_steps=840,
                        epoch=step / 21,
                        loss=1 / step,
                        accuracy=0.9,
                        learning_rate=0.1,
                        images_per_second=1204.4,
                        seconds_left=(840 - step) / 10,
                    )
            emit(
                "component_finished",
                component=component,
                seconds=1.0,
                is_cached=False,
                detail=f"about {component}",
            )
        return make_summary(run_folder, **fake.changes)

    fake.run = run
    monkeypatch.setitem(sys.modules, "pipeline.execution", fake)
    monkeypatch.setattr(pipeline, "execution", fake, raising=False)
    return fake


@pytest.fixture
def call(tmp_path, monkeypatch, capfd):
    """Calls the command in an empty folder; gives exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)
    for name in ("SLIMLINE_ROOT", "NO_COLOR", "FORCE_COLOR", "CI"):
        monkeypatch.delenv(name, raising=False)

    def run(*arguments):
        capfd.readouterr()  # TensorFlow's words from the making of other fixtures
        code = main.main([str(argument) for argument in arguments])
        captured = capfd.readouterr()
        return code, captured.out, captured.err

    return run

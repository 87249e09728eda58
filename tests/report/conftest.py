"""A made-up run in the formats that a real one leaves, written without training."""

import dataclasses
import io
import json
import pathlib
from collections.abc import Sequence

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from PIL import Image, ImageDraw
from tensorflow_metadata.proto.v0 import anomalies_pb2

from common import run_files
from components.image_example_gen import reports
from components.model_evaluator import figures, gate, intervals, predictions, scores
from pipeline.config import AugmentationConfig, PipelineConfig
from pipeline.runs.summary import Summary
from schema import features
from trainer import history, input_pipeline
from trainer.config import as_json, flatten

CLASSES = ("airplane", "bird", "cat", "deer", "dog", "frog", "horse", "ship")
RUN = "2026-11-26_0201_quick-heron"


@dataclasses.dataclass
class MadeUpRun:
    """Writes a run, its parts by turns."""

    root: pathlib.Path
    classes: Sequence[str]
    images: int
    size_px: int
    mistake_share: float
    passes: bool
    has_baseline: bool
    seed: int = 0

    def __post_init__(self) -> None:
        self.random = np.random.default_rng(self.seed)
        self.folder = self.root / RUN
        self.folder.mkdir(parents=True)
        self.table = self._make_table()
        # Beside those that it writes: component -> key -> addresses.
        self.artifacts: dict[str, dict[str, list[str]]] = {}

    @property
    def evaluation(self) -> pathlib.Path:
        return self.root / "digits" / "evaluate" / "evaluation" / "8"

    @property
    def examples(self) -> pathlib.Path:
        return self.root / "digits" / "ingest" / "examples" / "2"

    @property
    def anomalies(self) -> pathlib.Path:
        return self.root / "digits" / "check" / "anomalies" / "4"

    def write(self) -> pathlib.Path:
        """The folder of the run."""
        self.verdict = self._make_verdict()
        self.evaluation.mkdir(parents=True)
        self.table.to_parquet(self.evaluation / predictions.FILE)
        (self.evaluation / gate.VERDICT_FILE).write_text(json.dumps(self.verdict))
        self._write_examples()
        self._write_anomalies()
        self._write_history()
        self._write_settings()
        self._write_summary()
        return self.folder

    def key(self, split: str, number: int, label: int) -> str:
        return f"{split}/{self.classes[label]}/{number:05}.png"

    def _make_table(self) -> pd.DataFrame:
        count, classes = self.images, len(self.classes)
        labels = np.arange(count) % classes
        is_wrong = self.random.random(count) < self.mistake_share
        # Mostly the next class, so that the matrix has a pattern.
        step = np.where(
            self.random.random(count) < 0.7, 1, self.random.integers(1, classes, count)
        )
        predicted = np.where(is_wrong, (labels + step) % classes, labels)
        logits = self.random.normal(0, 1, (count, classes)).astype(np.float32)
        chosen = np.arange(count), predicted
        logits[chosen] = logits.max(axis=1) + self.random.gamma(2.0, 1.2, count)
        exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
        found = (exponents / exponents.sum(axis=1, keepdims=True)).astype(np.float32)
        own = found[np.arange(count), labels]
        rank = (found > own[:, None]).sum(axis=1) + 1
        table = {
            "key": [self.key("test", n, label) for n, label in enumerate(labels)],
            "label": labels.astype(np.int32),
            "predicted": predicted.astype(np.int32),
            "confidence": found.max(axis=1),
            "label_probability": own,
            "label_rank": rank.astype(np.int32),
            "probabilities": list(found),
            "trait_size": np.where(
                self.random.random(count) < 0.8, "up to 32 px", "33 to 64 px"
            ),
            "trait_colour": np.where(self.random.random(count) < 0.9, "colour", "gray"),
        }
        if self.has_baseline:
            before = np.where(
                self.random.random(count) < 0.05, (predicted + 1) % classes, predicted
            )
            table["baseline_predicted"] = before.astype(np.int32)
        return pd.DataFrame(table).sort_values("key", ignore_index=True)

    def _make_verdict(self) -> dict:
        table = self.table
        hits = predictions.hits(table)
        confusion = figures.confusion(table, len(self.classes))
        per_class = figures.per_class(table, self.classes)
        bins = scores.reliability(table["confidence"].to_numpy(), hits)
        cross_entropy = float(-np.log(table["label_probability"]).mean())
        metrics = {
            "top_1": float(hits.mean()),
            "top_5": float((table["label_rank"] <= 5).mean()),
            "cross_entropy": cross_entropy,
            "example_count": float(len(table)),
            **scores.macro(per_class),
            "calibration_error": scores.calibration_error(bins),
        }
        verdict = {
            "is_blessed": self.passes,
            "labels": list(self.classes),
            "metrics": metrics,
            "intervals": {
                "top_1": [metrics["top_1"] - 0.011, metrics["top_1"] + 0.01],
                "cross_entropy": [cross_entropy - 0.02, cross_entropy + 0.02],
            },
            "baseline_version": None,
            "baseline_metrics": None,
            "differences": None,
            "per_class": per_class,
            "slices": {
                trait: {
                    value: {
                        "top_1": float(hits[rows.index].mean()),
                        "cross_entropy": float(
                            -np.log(rows["label_probability"]).mean()
                        ),
                        "example_count": len(rows),
                    }
                    for value, rows in table.groupby(f"trait_{trait}")
                }
                for trait in ("size", "colour")
            },
            "confusion": confusion.tolist(),
            "reliability": bins,
            "rules": [
                {
                    "name": "min_top_1",
                    "sentence": f"top-1 {metrics['top_1']:.4f} ≥ 0.8000 required",
                    "is_kept": True,
                    "figure": metrics["top_1"],
                    "limit": 0.8,
                    "baseline": None,
                },
                {
                    "name": "min_class_recall",
                    "sentence": "class cat 0.7901, required of each 0.8000"
                    if not self.passes
                    else "weakest class cat 0.8100 ≥ 0.8000 required of each",
                    "is_kept": self.passes,
                    "figure": 0.81 if self.passes else 0.7901,
                    "limit": 0.8,
                    "baseline": None,
                },
            ],
        }
        if self.has_baseline:
            before = hits_of_baseline(table)
            low, high = intervals.of_paired_shares(hits, before)
            verdict |= {
                "baseline_version": "1795656317",
                "baseline_metrics": {
                    "top_1": float(before.mean()),
                    "top_5": metrics["top_5"] - 0.001,
                    "cross_entropy": cross_entropy + 0.03,
                    "example_count": float(len(table)),
                },
                "differences": {
                    "top_1": {
                        "difference": float(hits.mean() - before.mean()),
                        "low": low,
                        "high": high,
                    },
                    "cross_entropy": {
                        "difference": -0.03,
                        "low": -0.041,
                        "high": 0.002,
                    },
                },
            }
        verdict["sentences"] = [rule["sentence"] for rule in verdict["rules"]]
        verdict["refusals"] = [
            rule["sentence"] for rule in verdict["rules"] if not rule["is_kept"]
        ]
        return verdict

    def _write_examples(self) -> None:
        self.per_split = {
            features.TRAIN: [
                (self.key("train", n, n % len(self.classes)), n % len(self.classes))
                for n in range(4 * len(self.classes))
            ],
            features.EVAL: [
                (self.key("eval", n, n), n) for n in range(len(self.classes))
            ],
            features.TEST: list(
                zip(self.table["key"], self.table["label"], strict=True)
            ),
        }
        for split, rows in self.per_split.items():
            folder = self.examples / f"Split-{split}"
            folder.mkdir(parents=True)
            with tf.io.TFRecordWriter(
                str(folder / "data_tfrecord-00000-of-00001.gz"),
                input_pipeline.COMPRESSION,
            ) as writer:
                for number, (key, label) in enumerate(rows):
                    writer.write(
                        example(
                            key,
                            int(label),
                            self.classes[label],
                            self.picture(label, number),
                        )
                    )
        self.quarantine = [
            {"key": "train/cat/broken.png", "reason": "truncated at byte 812"},
            {"key": "train/dog/empty.jpg", "reason": "no bytes"},
        ]
        reports.write_quarantine(
            str(self.examples), [tuple(row.values()) for row in self.quarantine]
        )
        reports.write_summary(
            str(self.examples),
            {
                "format": "folder",
                "images": {split: len(rows) for split, rows in self.per_split.items()},
                "unreadable": 2,
                "ignored": 5,
                "ignored_images": 1,
                "duplicates_dropped": 37,
                "duplicates_kept": 3,
                "label_conflicts": 1,
                "missing_classes": {},
            },
        )

    def picture(self, label: int, number: int) -> bytes:
        """A PNG with the shape and colour of its class on a ground of its own."""
        side, variety = self.size_px, self.random.integers(-40, 40, 6)
        ground = tuple(int(150 + v) for v in variety[:3])
        image = Image.new("RGB", (side, side), ground)
        draw = ImageDraw.Draw(image)
        colour = tuple((label * 71 + c * 97 + int(variety[3])) % 200 for c in range(3))
        a, b = side * (0.2 + variety[4] / 400), side * (0.8 + variety[5] / 400)
        if label % 3 == 0:
            draw.ellipse((a, a, b, b), fill=colour)
        elif label % 3 == 1:
            draw.rectangle((a, a, b, b), fill=colour)
        else:
            draw.polygon([(a, b), (b, b), (side / 2, a)], fill=colour)
        noise = self.random.integers(-14, 14, (side, side, 3))
        pixels = np.clip(np.asarray(image).astype(int) + noise, 0, 255).astype(np.uint8)
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "PNG", compress_level=1)
        return file.getvalue()

    def _write_anomalies(self) -> None:
        for split in features.SPLITS:
            folder = self.anomalies / f"Split-{split}"
            folder.mkdir(parents=True)
            anomalies = anomalies_pb2.Anomalies()
            if split == features.EVAL:
                anomalies.anomaly_info[
                    "image/width"
                ].description = "some values above 64"
            (folder / "SchemaDiff.pb").write_bytes(anomalies.SerializeToString())

    def _write_history(self) -> None:
        noise = np.random.default_rng(1).normal(0, 1, 101)
        rows = [
            f"{step},{2.3 * np.exp(-step / 250) + 0.15 + 0.04 * noise[step // 10]:.4f},"
            f"{min(1, 0.97 - 0.8 * np.exp(-step / 200) + 0.02 * noise[step // 10]):.4f},"
            f"{0.05 * (1 + np.cos(np.pi * step / 1000)):.5f}"
            for step in range(10, 1001, 10)
        ]
        (self.folder / history.LOSSES_FILE).write_text(
            "step,loss,accuracy,learning_rate\n" + "\n".join(rows) + "\n"
        )
        rows = [
            f"{step},0.3,0.05,{0.93 - 0.8 * np.exp(-step / 180) - 0.03 * (step % 200 == 0):.4f},0.5,"
            f"{0.94 - 0.85 * np.exp(-step / 220):.4f},0.4"
            for step in range(50, 1001, 50)
        ]
        (self.folder / history.HISTORY_FILE).write_text(
            "step,loss,learning_rate,eval_top_1_raw,eval_cross_entropy_raw,"
            "eval_top_1_ema,eval_cross_entropy_ema\n" + "\n".join(rows) + "\n"
        )

    def _write_settings(self) -> None:
        config = PipelineConfig(
            name="digits",
            augmentation=AugmentationConfig(
                flip_left_right=True, pad_crop_px=4, brightness=0.3, cutout_px=10
            ),
        )
        settings = {
            key: {"value": value, "origin": "default"}
            for key, value in flatten(as_json(config)).items()
        }
        settings["train.epochs"] = {"value": 12.0, "origin": "--set"}
        settings["train.learning_rate"] = {"value": 0.05, "origin": "--config my.yaml"}
        record = {"created": "2026-11-26T02:01:00+00:00", "settings": settings}
        (self.folder / run_files.CONFIG_FILE).write_text(json.dumps(record))

    def _write_summary(self) -> None:
        verdict = self.verdict
        summary = Summary(
            run=RUN,
            folder=str(self.folder),
            experiment="digits",
            passed=self.passes,
            is_cached=False,
            images={split: len(rows) for split, rows in self.per_split.items()},
            images_per_class={
                split: {
                    name: sum(label == place for _, label in rows)
                    for place, name in enumerate(self.classes)
                }
                for split, rows in self.per_split.items()
            },
            unreadable=2,
            quarantine=str(self.examples / "quarantine.jsonl"),
            num_classes=len(self.classes),
            net="resnet_20",
            parameters=272_474,
            steps=1000,
            best_step=950,
            eval_top_1=0.9312,
            weights="ema",
            data_fingerprint="8f0c" * 16,
            metrics=verdict["metrics"],
            intervals=verdict["intervals"],
            baseline_metrics=verdict["baseline_metrics"],
            baseline_version=verdict["baseline_version"],
            differences=verdict["differences"],
            per_class=verdict["per_class"],
            most_confused=("cat", "deer", 12),
            rules=verdict["rules"],
            verdict=verdict["sentences"],
            refusals=verdict["refusals"],
            infra_rules=[
                {"name": "loads", "sentence": "loaded in 1.2 s", "is_kept": True, "figure": 1.23, "limit": None},
                {"name": "max_difference", "sentence": "80 of 80 answers equal those of training (largest difference 3.1e-07)", "is_kept": True, "figure": 3.1e-7, "limit": 1e-4},
                {"name": "max_latency_ms", "sentence": "p99 latency 4.2 ms", "is_kept": True, "figure": 4.2, "limit": None},
            ],
            infra_refusals=[],
            pushed_version="1795657001" if self.passes else None,
            pushed_path=str(self.root / "serving" / "digits" / "1795657001") if self.passes else None,
            seconds={"ingest": 3.2, "statistics": 2.9, "check": 0.1, "transform": 4.4, "train": 480.4, "evaluate": 21.2, "infra": 6.2, "push": 0.4},
            total_seconds=521.0,
            training_seconds=476.1,
            sample_images={},
        )  # fmt: skip
        self.summary = dataclasses.asdict(summary) | {
            "finished": "2026-11-26T02:10:00+00:00",
            "versions": {
                "Python": "3.11.7",
                "TensorFlow": "2.16.2",
                "TFX": "1.16.0",
                "slimline": "0.1.0",
            },
            "source_fingerprint": "3f" * 32,
            "artifacts": {
                "ingest": {"examples": [str(self.examples)]},
                "check": {"anomalies": [str(self.anomalies)]},
                "evaluate": {"evaluation": [str(self.evaluation)]},
                **self.artifacts,
            },
        }
        (self.folder / run_files.SUMMARY_FILE).write_text(json.dumps(self.summary))


def hits_of_baseline(table: pd.DataFrame) -> np.ndarray:
    return predictions.hits(table, prefix=predictions.BASELINE_PREFIX)


def example(key: str, label: int, text: str, encoded: bytes) -> bytes:
    """A serialised Example as ingest writes it."""
    with Image.open(io.BytesIO(encoded)) as image:
        width, height = image.size

    def of_bytes(value: bytes) -> tf.train.Feature:
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))

    def of_int(value: int) -> tf.train.Feature:
        return tf.train.Feature(int64_list=tf.train.Int64List(value=[value]))

    feature = {
        features.ENCODED: of_bytes(encoded),
        features.FORMAT: of_bytes(b"png"),
        features.HEIGHT: of_int(height),
        features.WIDTH: of_int(width),
        features.LABEL: of_int(label),
        features.TEXT: of_bytes(text.encode()),
        features.KEY: of_bytes(key.encode()),
    }
    return tf.train.Example(
        features=tf.train.Features(feature=feature)
    ).SerializeToString()


@pytest.fixture(scope="session")
def new_run():
    """Makes a `MadeUpRun` in a folder; nothing is written before its `write`."""

    def make(
        root,
        classes=CLASSES,
        images=240,
        size_px=32,
        mistake_share=0.15,
        passes=True,
        has_baseline=True,
    ):
        return MadeUpRun(
            root, classes, images, size_px, mistake_share, passes, has_baseline
        )

    return make


@pytest.fixture(scope="session")
def made_up(new_run, tmp_path_factory):
    """A run that passed; tests must not change it."""
    run = new_run(tmp_path_factory.mktemp("runs"))
    run.write()
    return run


@pytest.fixture(scope="session")
def page(made_up):
    """Text of its page."""
    from report import building, run_data

    return building.render(run_data.read(made_up.folder))

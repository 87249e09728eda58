"""Transform output and splits of a tiny fake, made with Transform's own Beam code."""

import dataclasses
import functools
import importlib
import pathlib
import sys
from collections.abc import Callable

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_transform as tft
import tensorflow_transform.beam as tft_beam
from tensorflow.python.framework import ops
from tensorflow_transform.tf_metadata import dataset_metadata, schema_utils

from schema import features
from trainer import input_pipeline, preprocessing
from trainer.config import PreprocessingConfig, as_json


@dataclasses.dataclass(frozen=True)
class Fake:
    """A data set of two colours.

    Attributes:
      images: uint8 [n, size, size, channels].
      labels: int64 [n].
      encoded: PNG of each image.
      pattern: of its TFRecord files.
      transform: Transform's output for it.
    """

    images: np.ndarray
    labels: np.ndarray
    encoded: list[bytes]
    pattern: str
    transform: tft.TFTransformOutput


@pytest.fixture(scope="session")
def encode_example() -> Callable[[bytes, int], bytes]:
    """Function (encoded image, label) -> serialised Example, as the Trainer reads it."""
    return _encode_example


def _encode_example(encoded: bytes, label: int) -> bytes:
    """Serialised Example with the two features that the Trainer reads."""
    bytes_list = tf.train.BytesList(value=[encoded])
    return tf.train.Example(
        features=tf.train.Features(
            feature={
                features.ENCODED: tf.train.Feature(bytes_list=bytes_list),
                features.LABEL: tf.train.Feature(
                    int64_list=tf.train.Int64List(value=[label])
                ),
            }
        )
    ).SerializeToString()


@pytest.fixture
def legacy_layers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets `slim.batch_norm` run: modules and a class under their former addresses."""
    for part in ("", ".base", ".normalization"):
        module = importlib.import_module(f"tf_keras.src.legacy_tf_layers{part}")
        monkeypatch.setitem(sys.modules, f"tf_keras.legacy_tf_layers{part}", module)
    monkeypatch.setattr(ops, "Tensor", tf.Tensor, raising=False)


@pytest.fixture(scope="session")
def make_fake(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Fake]:
    """Function (PreprocessingConfig, count) -> Fake, one for all who ask for the same."""

    @functools.cache
    def make(config: PreprocessingConfig, count: int = 40) -> Fake:
        folder = tmp_path_factory.mktemp("fake")
        random = np.random.default_rng(7)
        size = config.resize_px
        labels = np.arange(count, dtype=np.int64) % 2
        base = np.where(labels == 0, 60, 190)[:, None, None, None]
        noise = random.integers(-40, 40, [count, size, size, config.channels])
        images = (base + noise).astype(np.uint8)
        encoded = [tf.io.encode_png(image).numpy() for image in images]
        path = folder / "data_tfrecord-00000-of-00001.gz"
        with tf.io.TFRecordWriter(str(path), options="GZIP") as writer:
            for png, label in zip(encoded, labels, strict=True):
                writer.write(_encode_example(png, int(label)))
        return Fake(
            images=images,
            labels=labels,
            encoded=encoded,
            pattern=str(folder / "data_tfrecord-*"),
            transform=_transform(config, encoded, labels, folder),
        )

    return make


def _transform(
    config: PreprocessingConfig,
    encoded: list[bytes],
    labels: np.ndarray,
    folder: pathlib.Path,
) -> tft.TFTransformOutput:
    metadata = dataset_metadata.DatasetMetadata(
        schema_utils.schema_from_feature_spec(input_pipeline.READ_FEATURES)
    )
    rows = [
        {features.ENCODED: png, features.LABEL: int(label)}
        for png, label in zip(encoded, labels, strict=True)
    ]
    with tft_beam.Context(temp_dir=str(folder / "scratch")):
        transform_fn = (rows, metadata) | tft_beam.AnalyzeDataset(
            lambda inputs: preprocessing.preprocessing_fn(
                inputs, {"preprocessing": as_json(config)}
            )
        )
        transform_fn | tft_beam.WriteTransformFn(str(folder / "transform"))
    return tft.TFTransformOutput(str(folder / "transform"))

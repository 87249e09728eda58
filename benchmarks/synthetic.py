"""Examples and Transform output of images made up at random, for the input benchmark.

Smooth blots with a little noise: they compress about as photographs do, so that decoding
costs what it costs with real images.

As a program it prepares what one JSON argument asks for, so that whoever measures need not
load TensorFlow and Beam beside the workers.
"""

import io
import json
import pathlib
import sys
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_transform as tft
import tensorflow_transform.beam as tft_beam
from PIL import Image
from tensorflow_transform.tf_metadata import dataset_metadata, schema_utils

from pipeline import experiments
from schema import features
from trainer import input_pipeline, preprocessing
from trainer.config import PreprocessingConfig, as_json

SHARDS = 4
# Enough for the channel means that `standardise='dataset'` asks for.
ANALYSED = 256
BLOTS = 12
NOISE = 6


def prepare(task: dict[str, Any]) -> None:
    """Writes Examples, where they are to be made up, and the Transform output.

    Args:
      task: `experiment` and `folder`; `pattern` of the Examples, which are made up where
        `made_up` holds the other arguments of `write_examples`.
    """
    folder = pathlib.Path(task["folder"])
    if task["made_up"]:
        write_examples(pathlib.Path(task["pattern"]).parent, **task["made_up"])
    config = experiments.find(task["experiment"]).preprocessing
    transform_output(task["pattern"], config, folder)


def write_examples(
    folder: pathlib.Path,
    *,
    count: int,
    height_px: int,
    width_px: int,
    kind: str,
    num_classes: int,
) -> None:
    """Writes `count` colour images into `folder` as ImageExampleGen does.

    Args:
      folder: made where it is missing.
      count: images.
      height_px: of each image.
      width_px: of each image.
      kind: 'jpeg' or 'png'.
      num_classes: labels are drawn below that.
    """
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(1)
    for shard in range(SHARDS):
        path = folder / f"data_tfrecord-{shard:05}-of-{SHARDS:05}.gz"
        with tf.io.TFRecordWriter(str(path), options="GZIP") as writer:
            for number in range(shard, count, SHARDS):
                encoded = encode(smooth_image(random, height_px, width_px), kind)
                label = int(random.integers(num_classes))
                example: dict[str, bytes | int] = {
                    features.ENCODED: encoded,
                    features.FORMAT: kind.encode(),
                    features.HEIGHT: height_px,
                    features.WIDTH: width_px,
                    features.LABEL: label,
                    features.TEXT: f"class_{label}".encode(),
                    features.KEY: f"{number:08}".encode(),
                }
                writer.write(_example(example).SerializeToString())


def smooth_image(
    random: np.random.Generator, height_px: int, width_px: int
) -> np.ndarray:
    """uint8 [height_px, width_px, 3]: blots of colour with a little noise."""
    blots = Image.fromarray(random.integers(0, 256, [BLOTS, BLOTS, 3]).astype(np.uint8))
    smooth = np.asarray(blots.resize((width_px, height_px), Image.Resampling.BICUBIC))
    noise = random.integers(-NOISE, NOISE + 1, smooth.shape)
    return np.clip(smooth + noise, 0, 255).astype(np.uint8)


def encode(image: np.ndarray, kind: str) -> bytes:
    """JPEG or PNG of uint8 [height, width, 3]."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, kind)
    return file.getvalue()


def transform_output(
    pattern: str, config: PreprocessingConfig, folder: pathlib.Path
) -> None:
    """Writes into `folder` what Transform gives for the first images of `pattern`."""
    rows = []
    files = sorted(tf.io.gfile.glob(pattern))
    records = tf.data.TFRecordDataset(files, input_pipeline.COMPRESSION)
    for record in records.take(ANALYSED).as_numpy_iterator():
        values = tf.io.parse_single_example(record, input_pipeline.READ_FEATURES)
        rows.append({name: value.numpy() for name, value in values.items()})
    metadata = dataset_metadata.DatasetMetadata(
        schema_utils.schema_from_feature_spec(input_pipeline.READ_FEATURES)
    )
    custom_config = {"preprocessing": as_json(config)}
    with tft_beam.Context(temp_dir=str(folder / "scratch")):
        transform_fn = (rows, metadata) | tft_beam.AnalyzeDataset(
            lambda inputs: preprocessing.preprocessing_fn(inputs, custom_config)
        )
        transform_fn | tft_beam.WriteTransformFn(str(folder / "transform"))


def open_transform(folder: pathlib.Path) -> tft.TFTransformOutput:
    """What `transform_output` wrote into `folder`."""
    return tft.TFTransformOutput(str(folder / "transform"))


def _example(values: dict[str, bytes | int]) -> tf.train.Example:
    example = tf.train.Example()
    for name, value in values.items():
        feature = example.features.feature[name]
        if isinstance(value, bytes):
            feature.bytes_list.value.append(value)
        else:
            feature.int64_list.value.append(value)
    return example


if __name__ == "__main__":
    task = json.loads(sys.argv.pop())  # Beam would take it for a flag of its own
    prepare(task)

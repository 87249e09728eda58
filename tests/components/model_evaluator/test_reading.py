"""How the images of a split come to the models."""

import pathlib

import apache_beam as beam
import tensorflow as tf
import tensorflow_model_analysis as tfma
from tfx.types import artifact_utils, standard_artifacts

from components.model_evaluator import component
from pipeline.beam import engines
from schema import features


def test_every_image_once_and_never_too_many_at_once(tmp_path: pathlib.Path) -> None:
    count = 2 * component.BATCH_SIZE + 44
    folder = tmp_path / "Split-test"
    folder.mkdir()
    with tf.io.TFRecordWriter(str(folder / "data.gz"), "GZIP") as writer:
        for number in range(count):
            key = tf.train.BytesList(value=[str(number).encode()])
            feature = {features.KEY: tf.train.Feature(bytes_list=key)}
            writer.write(
                tf.train.Example(
                    features=tf.train.Features(feature=feature)
                ).SerializeToString()
            )
    examples = standard_artifacts.Examples()
    examples.uri = str(tmp_path)
    examples.split_names = artifact_utils.encode_split_names(["test"])
    examples.set_string_custom_property("payload_format", "FORMAT_TF_EXAMPLE")
    examples.set_string_custom_property("file_format", "tfrecords_gzip")
    seen = tmp_path / "seen.txt"
    with beam.Pipeline(argv=engines.local()) as pipeline:
        _ = component._read(examples, "test", pipeline) | beam.Map(_note, seen)
    batches = [line.split() for line in seen.read_text().splitlines()]
    assert sorted(map(len, batches)) == [44, component.BATCH_SIZE, component.BATCH_SIZE]
    assert sorted(int(key) for batch in batches for key in batch) == list(range(count))


def _note(batch, file: pathlib.Path) -> None:
    assert tfma.constants.ARROW_INPUT_COLUMN in batch.schema.names
    keys = b" ".join(key for (key,) in batch[features.KEY].to_pylist())
    with file.open("a") as notes:
        notes.write(f"{keys.decode()}\n")

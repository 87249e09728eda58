"""Warm-up requests that a model server runs when it loads a version.

TensorFlow Serving calls a version available after them, so the first real request finds a
compiled graph for each signature. They are in the model when it is checked and pushed,
because a request that fails keeps the version from loading.
"""

import pathlib
import shutil
from collections.abc import Iterator, Sequence

import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from pushed_models import signatures
from schema import features
from storage import manifest

# Another size is another shape to prepare; above `max_batch_size` of a server's batching
# file a request is refused, so the larger one stays small.
BATCH_SIZES = (1, 4)


def add(model: pathlib.Path, recording: pathlib.Path) -> pathlib.Path:
    """Puts warm-up requests and the recorded answers into `assets.extra` of a SavedModel.

    Args:
      model: its folder.
      recording: file that `trainer.recording` wrote; the requests take its images with
        the fewest bytes.

    Returns:
      The file of the requests, a TFRecord of PredictionLogs.
    """
    folder = model / manifest.EXTRA_FOLDER
    folder.mkdir(exist_ok=True)
    shutil.copyfile(recording, folder / signatures.RECORDED_FILE)
    images = sorted(_images(recording), key=len)
    path = folder / signatures.WARM_UP_FILE
    with tf.io.TFRecordWriter(str(path)) as writer:
        for size in sorted({min(size, len(images)) for size in BATCH_SIZES}):
            for name in signatures.INPUTS:
                writer.write(_request(name, images[:size]).SerializeToString())
    return path


def _images(recording: pathlib.Path) -> list[bytes]:
    return [
        tf.train.Example.FromString(serialised)
        .features.feature[features.ENCODED]
        .bytes_list.value[0]
        for serialised in tf.data.TFRecordDataset(
            str(recording), "GZIP"
        ).as_numpy_iterator()
    ]


def _request(
    signature: str, images: Sequence[bytes]
) -> prediction_log_pb2.PredictionLog:
    log = prediction_log_pb2.PredictionLog()
    if signature == signatures.CLASSIFY:
        classify = log.classify_log.request
        classify.model_spec.signature_name = signature
        classify.input.example_list.examples.extend(_examples(images))
        return log
    predict = log.predict_log.request
    predict.model_spec.signature_name = signature
    values = (
        list(images)
        if signature == signatures.PREDICT_IMAGES
        else [example.SerializeToString() for example in _examples(images)]
    )
    predict.inputs[signatures.INPUTS[signature]].CopyFrom(
        tf.make_tensor_proto(values, tf.string, [len(values)])
    )
    return log


def _examples(images: Sequence[bytes]) -> Iterator[tf.train.Example]:
    for image in images:
        feature = tf.train.Feature(bytes_list=tf.train.BytesList(value=[image]))
        yield tf.train.Example(
            features=tf.train.Features(feature={features.ENCODED: feature})
        )

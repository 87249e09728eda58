"""Inputs to try a version with: its recorded images, its warm-up requests, or a gray image."""

import pathlib
from collections.abc import Iterator

import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from schema import features, images, manifest, recorded, signatures

GRAY_SIDE_PX = 32
# As many as a batch needs to differ.
MAX_INPUTS = 32


def read_recorded(folder: pathlib.Path) -> recorded.Recorded | None:
    """Images with the answers of training, or None where none were pushed along.

    Raises:
      tf.errors.OpError: the file is damaged.
    """
    path = folder / manifest.EXTRA_FOLDER / signatures.RECORDED_FILE
    return recorded.read(path) if path.is_file() else None


def warm_up(folder: pathlib.Path) -> dict[str, list[bytes]]:
    """Inputs for signatures, by name.

    They are the requests of TensorFlow Serving's warm-up file; for those of our signatures
    that it does not ask, the recorded images, or a gray one.
    """
    found = recorded_or_gray(folder)
    path = folder / manifest.EXTRA_FOLDER / signatures.WARM_UP_FILE
    if path.is_file():
        by_signature: dict[str, list[bytes]] = {}
        for name, inputs in _requests(path):
            by_signature.setdefault(name, []).extend(inputs)
        found |= {name: inputs for name, inputs in by_signature.items() if inputs}
    return {name: inputs[:MAX_INPUTS] for name, inputs in found.items()}


def recorded_or_gray(folder: pathlib.Path) -> dict[str, list[bytes]]:
    """The same images for each of our signatures."""
    found = read_recorded(folder)
    return for_signatures(found.encoded if found else [gray_image()])


def for_signatures(encoded: list[bytes]) -> dict[str, list[bytes]]:
    """Images as each of our signatures takes them."""
    examples = [_example(one) for one in encoded]
    return {
        name: encoded if name == signatures.PREDICT_IMAGES else examples
        for name in signatures.INPUTS
    }


def gray_image() -> bytes:
    """PNG of a size that every net takes, since preprocessing resizes it."""
    pixels = np.full([1, GRAY_SIDE_PX, GRAY_SIDE_PX, 3], 128, np.uint8)
    return next(images.encode_pngs(pixels))


def _example(encoded: bytes) -> bytes:
    feature = tf.train.Feature(bytes_list=tf.train.BytesList(value=[encoded]))
    return tf.train.Example(
        features=tf.train.Features(feature={features.ENCODED: feature})
    ).SerializeToString()


def _requests(file: pathlib.Path) -> Iterator[tuple[str, list[bytes]]]:
    """Signature and inputs of each request in a warm-up file."""
    records = tf.data.TFRecordDataset(str(file)).take(signatures.MAX_WARM_UP_RECORDS)
    for serialised in records.as_numpy_iterator():
        log = prediction_log_pb2.PredictionLog.FromString(serialised)
        if log.HasField("classify_log"):
            classify = log.classify_log.request
            examples = classify.input.example_list.examples
            yield (
                classify.model_spec.signature_name,
                [example.SerializeToString() for example in examples],
            )
        elif log.HasField("predict_log"):
            predict = log.predict_log.request
            name = predict.model_spec.signature_name or signatures.SERVING_DEFAULT
            for tensor in predict.inputs.values():
                yield name, list(tf.make_ndarray(tensor).ravel())

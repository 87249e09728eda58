"""Toy SavedModels that tell classes by the first byte, and what a Trainer recorded."""

import dataclasses
import pathlib
from collections.abc import Callable

import numpy as np
import pytest
import tensorflow as tf
import tensorflow.compat.v1 as v1

from pushed_models import signatures
from schema import features

LABELS = ("cat", "dog", "eel")
# 'Images' whose length, from one byte on, decides the class.
ENCODED = [b"a" * length for length in (1, 2, 3, 2, 1)]
STEP = 0.25


def probabilities(encoded: list[bytes]) -> np.ndarray:
    """What a right model answers: softmax of the distance of length and place."""
    lengths = np.array([len(one) for one in encoded], np.float32)[:, None]
    logits = -np.abs(lengths - np.arange(1, 4, dtype=np.float32)) / STEP
    powers = np.exp(logits)
    return powers / powers.sum(axis=1, keepdims=True)


@dataclasses.dataclass(frozen=True)
class Toy:
    """What of a toy model differs from a right one.

    Attributes:
      asset: names in `labels.txt`; None writes no such file.
      names: of `classes`, by place of the probability.
      signatures: that it has.
      scores_dtype: of the output `scores`.
      shift: added to the probability of the first class.
      batch_shift: the same, but for batches of several images only.
      method: of the signature `classify`.
      has_views: whether it has the signature that tells what it would be without views.
    """

    asset: tuple[str, ...] | None = LABELS
    names: tuple[str, ...] = LABELS
    signatures: tuple[str, ...] = tuple(signatures.INPUTS)
    scores_dtype: tf.DType = tf.float32
    shift: float = 0.0
    batch_shift: float = 0.0
    method: str = "tensorflow/serving/classify"
    has_views: bool = False

    def as_classify(self, inputs, outputs):
        """The signature `classify`, of the toy's method."""
        build = v1.saved_model.build_tensor_info
        return v1.saved_model.build_signature_def(
            {name: build(tensor) for name, tensor in inputs.items()},
            {name: build(tensor) for name, tensor in outputs.items()},
            self.method,
        )


@pytest.fixture
def labels() -> tuple[str, ...]:
    return LABELS


@pytest.fixture
def toy() -> type[Toy]:
    """Toy(**differences)."""
    return Toy


@pytest.fixture
def export(tmp_path: pathlib.Path) -> Callable[..., pathlib.Path]:
    """Function (Toy, folder) -> folder of its SavedModel."""

    def write(toy: Toy, folder: pathlib.Path | None = None) -> pathlib.Path:
        folder = folder or tmp_path / "model"
        with tf.Graph().as_default(), v1.Session() as session:
            examples = v1.placeholder(tf.string, [None])
            parsed = tf.io.parse_example(
                examples, {features.ENCODED: tf.io.FixedLenFeature([], tf.string)}
            )
            images = v1.placeholder(tf.string, [None])
            if toy.asset is not None:
                asset = tmp_path / signatures.LABELS_ASSET
                asset.write_text("".join(f"{label}\n" for label in toy.asset))
                v1.add_to_collection(
                    v1.GraphKeys.ASSET_FILEPATHS, tf.constant(str(asset))
                )
            definitions = {
                signatures.SERVING_DEFAULT: v1.saved_model.predict_signature_def(
                    {"examples": examples}, _outputs(parsed[features.ENCODED], toy)
                ),
                signatures.PREDICT_IMAGES: v1.saved_model.predict_signature_def(
                    {"images": images}, _outputs(images, toy)
                ),
                signatures.CLASSIFY: toy.as_classify(
                    {"inputs": examples},
                    {
                        name: tensor
                        for name, tensor in _outputs(
                            parsed[features.ENCODED], toy
                        ).items()
                        if name != signatures.PROBABILITIES
                    },
                ),
            }
            chosen = {name: definitions[name] for name in toy.signatures}
            if toy.has_views:
                answer = _outputs(parsed[features.ENCODED], toy)
                plain = _outputs(images, dataclasses.replace(toy, shift=0.5))
                chosen[signatures.VIEWS_COMPARED] = (
                    v1.saved_model.predict_signature_def(
                        {"examples": examples},
                        {
                            signatures.PROBABILITIES: answer[signatures.PROBABILITIES],
                            signatures.PLAIN_PROBABILITIES: plain[
                                signatures.PROBABILITIES
                            ],
                        },
                    )
                )
            writer = v1.saved_model.Builder(str(folder))
            writer.add_meta_graph_and_variables(
                session,
                [tf.saved_model.SERVING],
                signature_def_map=chosen,
                assets_collection=v1.get_collection(v1.GraphKeys.ASSET_FILEPATHS),
            )
            writer.save()
        return folder

    return write


def _outputs(images: tf.Tensor, toy: Toy) -> dict[str, tf.Tensor]:
    lengths = tf.cast(tf.strings.length(images), tf.float32)[:, tf.newaxis]
    distances = tf.abs(lengths - tf.range(1.0, len(LABELS) + 1.0))
    probabilities = tf.nn.softmax(-distances / STEP)
    is_batch = tf.cast(tf.size(images) > 1, tf.float32)
    probabilities += [toy.shift + toy.batch_shift * is_batch, 0.0, 0.0]
    scores, order = tf.nn.top_k(probabilities, k=len(LABELS))
    return {
        signatures.PROBABILITIES: probabilities,
        signatures.CLASSES: tf.gather(tf.constant(list(toy.names)), order),
        signatures.SCORES: tf.cast(scores, toy.scores_dtype),
    }


@pytest.fixture
def recording(tmp_path: pathlib.Path) -> pathlib.Path:
    """File with the answers of a right model to five images."""
    path = tmp_path / signatures.RECORDED_FILE
    with tf.io.TFRecordWriter(str(path), "GZIP") as writer:
        for encoded, row in zip(ENCODED, probabilities(ENCODED), strict=True):
            feature = {
                features.ENCODED: tf.train.Feature(
                    bytes_list=tf.train.BytesList(value=[encoded])
                ),
                signatures.PROBABILITIES: tf.train.Feature(
                    float_list=tf.train.FloatList(value=row)
                ),
            }
            example = tf.train.Example(features=tf.train.Features(feature=feature))
            writer.write(example.SerializeToString())
    return path

"""Exports the SavedModel: encoded bytes in, class names and probabilities out."""

import pathlib
import tempfile
from collections.abc import Sequence

import tensorflow as tf
import tensorflow.compat.v1 as v1
import tensorflow_transform as tft

from pushed_models.signatures import (
    CLASS_WEIGHTS,
    CLASSES,
    CLASSIFY,
    INPUTS,
    LABELS_ASSET,
    LAST_MAPS,
    LOGITS,
    PLAIN_PROBABILITIES,
    PREDICT_IMAGES,
    PROBABILITIES,
    SCORES,
    SEEN_IMAGES,
    SERVING_DEFAULT,
    VIEWS_COMPARED,
)
from schema import features
from trainer import graphs, input_pipeline, preprocessing, test_time
from trainer.augmentation import geometry
from trainer.config import TrainerConfig


def export(
    folder: str,
    config: TrainerConfig,
    transform: tft.TFTransformOutput,
    labels: Sequence[str],
    checkpoint: str,
    weights: str,
) -> None:
    """Writes a SavedModel with the Transform graph and the chosen weights inside.

    Signatures, all with the outputs `classes` string [batch, num_classes] and `scores`
    float32 [batch, num_classes], best first, the first two also with `probabilities`
    float32 [batch, num_classes] in label order:
      serving_default: `examples`, string [batch], serialised tf.Examples; only
        `image/encoded` is read.
      predict_images: `images`, string [batch], encoded JPEG or PNG.
      classify: `inputs`, as `examples`, for TensorFlow Serving's Classify, which takes these
        two outputs only.

    With `model.test_time_views` all of these average over the views, and there is one more:
      views_compared: `examples` to `probabilities` and to `plain_probabilities`, float32
        [batch, num_classes], of the images as they are.

    `trainer.explaining` finds some tensors outside the signatures by fixed names:
    `seen_images`, `logits` and, where the net has them, `last_maps` and `class_weights`
    (`pushed_models.signatures`). A request does not compute `seen_images`.

    Args:
      folder: where to write; must not exist.
      transform: the output of Transform.
      labels: class names in label order; they become the asset `labels.txt`.
      checkpoint: path as a Saver takes it.
      weights: 'raw' or 'ema'.
    """
    with tempfile.TemporaryDirectory() as scratch, tf.Graph().as_default():
        examples = v1.placeholder(tf.string, [None], name="examples")
        parsed = tf.io.parse_example(
            examples, {features.ENCODED: input_pipeline.READ_FEATURES[features.ENCODED]}
        )
        # One net for all signatures: predict_images feeds what the others parse.
        encoded = v1.placeholder_with_default(
            parsed[features.ENCODED], [None], name="images"
        )
        transformed = transform.transform_raw_features({features.ENCODED: encoded})
        inference = graphs.build_inference(
            transformed[features.IMAGE_XF],
            len(labels),
            config,
            test_time_views=config.model.test_time_views,
        )
        _name_explanation(encoded, inference, config)
        probabilities = tf.identity(inference.probabilities, name="probabilities")
        scores, order = tf.nn.top_k(probabilities, k=len(labels))
        classes = tf.gather(tf.constant(list(labels)), order)
        outputs = {PROBABILITIES: probabilities, CLASSES: classes, SCORES: scores}
        of_views = {}
        if config.model.test_time_views != test_time.NONE:
            of_views[VIEWS_COMPARED] = v1.saved_model.predict_signature_def(
                {INPUTS[SERVING_DEFAULT]: examples},
                {
                    PROBABILITIES: probabilities,
                    PLAIN_PROBABILITIES: inference.plain_probabilities,
                },
            )
        _add_labels_asset(pathlib.Path(scratch), labels)
        with v1.Session() as session:
            session.run(v1.tables_initializer())
            inference.savers[weights].restore(session, checkpoint)
            writer = v1.saved_model.Builder(folder)
            writer.add_meta_graph_and_variables(
                session,
                [v1.saved_model.tag_constants.SERVING],
                signature_def_map={
                    SERVING_DEFAULT: v1.saved_model.predict_signature_def(
                        {INPUTS[SERVING_DEFAULT]: examples}, outputs
                    ),
                    PREDICT_IMAGES: v1.saved_model.predict_signature_def(
                        {INPUTS[PREDICT_IMAGES]: encoded}, outputs
                    ),
                    CLASSIFY: v1.saved_model.classification_signature_def(
                        examples, classes, scores
                    ),
                    **of_views,
                },
                assets_collection=v1.get_collection(v1.GraphKeys.ASSET_FILEPATHS),
                main_op=v1.tables_initializer(),
                strip_default_attrs=True,
            )
            writer.save()


def _name_explanation(
    encoded: tf.Tensor, inference: graphs.InferenceGraph, config: TrainerConfig
) -> None:
    """Adds the named tensors that an explanation reads."""
    levels = preprocessing.decode_and_crop(encoded, config.preprocessing)
    seen = geometry.central_crop(levels, config.image_size_px)
    tf.identity(seen, name=SEEN_IMAGES)
    tf.identity(inference.logits, name=LOGITS)
    if inference.last_maps is not None:
        tf.identity(inference.last_maps, name=LAST_MAPS)
    if inference.class_weights is not None:
        tf.identity(inference.class_weights, name=CLASS_WEIGHTS)


def _add_labels_asset(scratch: pathlib.Path, labels: Sequence[str]) -> None:
    path = scratch / LABELS_ASSET
    path.write_text("".join(f"{label}\n" for label in labels), encoding="utf-8")
    v1.add_to_collection(v1.GraphKeys.ASSET_FILEPATHS, tf.constant(str(path)))

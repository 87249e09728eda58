"""Heat maps of the evidence for a class in an image, from an exported model."""

import dataclasses
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow.compat.v1 as v1

from common.errors import ConfigError
from pushed_models import class_names, signatures

# Limits the memory of a call; gradients keep the maps of a whole batch.
BATCH_SIZE = 32


@dataclasses.dataclass(frozen=True)
class Explanation:
    """Evidence for one class in one image.

    Attributes:
      label: the class.
      score: its probability.
      heat: float32 [height, width] in [0, 1], of the size of the net's last maps. 1 is the
        position with most evidence for the class, 0 is no evidence or evidence against it.
      image: uint8 [image_size_px, image_size_px, channels], the part that the net sees.
    """

    label: str
    score: float
    heat: np.ndarray
    image: np.ndarray


def explain(
    folder: pathlib.Path,
    encoded: Sequence[bytes],
    labels: Sequence[str] | None = None,
) -> list[Explanation]:
    """An explanation of each image, in order.

    Where the class layer reads the mean of each of the last maps, the heat map is the class
    activation map: the sum of the maps, weighted by the weights of the class. For other nets
    it is Grad-CAM: weighted by the mean gradients of the logit of the class. The positive
    part is divided by its maximum, so both give the same heat map where both apply.

    With test-time views, class and score are those of the model's answer, and the map is of
    the image as it is.

    Args:
      folder: of a SavedModel that `trainer.export` wrote.
      encoded: a JPEG or PNG for each image.
      labels: the class to explain for each image; the most probable ones by default.

    Raises:
      ConfigError: the model cannot be loaded, its net has no maps, or it was exported before
        the maps had names.
      ValueError: one of `labels` is no class of the model, or their number is not that of
        the images.
      tf.errors.OpError: the graph cannot decode an image.

    Reference: Zhou et al., arXiv:1512.04150, eq. 2; Selvaraju et al., arXiv:1610.02391, eq.
      1 and 2.
    """
    if labels is not None and len(labels) != len(encoded):
        raise ValueError(
            f"`labels` must be one an image. Received {len(labels)} for {len(encoded)}"
            " images."
        )
    known = _labels(folder)
    unknown = set(labels or ()) - set(known)
    if unknown:
        raise ValueError(
            f"`labels` must be classes of the model in {folder}. Received"
            f" {', '.join(sorted(map(repr, unknown)))}."
        )
    places = {label: place for place, label in enumerate(known)}
    # A few images need no accelerator, and a training may be using it.
    config = v1.ConfigProto(device_count={"GPU": 0}, allow_soft_placement=True)
    with tf.Graph().as_default() as graph, v1.Session(config=config) as session:
        images = _load(session, folder)
        chosen, fetches = _add_explanation(graph, folder)
        found: list[Explanation] = []
        for start in range(0, len(encoded), BATCH_SIZE):
            batch = slice(start, start + BATCH_SIZE)
            feeds: dict[Any, Any] = {images: list(encoded[batch])}
            if labels is not None:
                feeds[chosen] = [places[label] for label in labels[batch]]
            found.extend(_explanations(session.run(fetches, feeds), known))
    return found


def _labels(folder: pathlib.Path) -> list[str]:
    try:
        return list(class_names.of_model(folder))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"the model in {folder} names no classes: {error}") from error


def _load(session: v1.Session, folder: pathlib.Path) -> str:
    """Loads the model into the session; returns the name of its input tensor."""
    try:
        meta = v1.saved_model.load(session, [tf.saved_model.SERVING], str(folder))
    except (OSError, ValueError, RuntimeError, tf.errors.OpError) as error:
        raise ConfigError(f"cannot load the model in {folder}: {error}") from error
    name = signatures.PREDICT_IMAGES
    if name not in meta.signature_def:
        raise ConfigError(
            f"the model in {folder} takes no images",
            found=f"signatures {', '.join(sorted(meta.signature_def)) or 'none'}",
            expected=name,
        )
    return meta.signature_def[name].inputs[signatures.INPUTS[name]].name


def _add_explanation(
    graph: tf.Graph, folder: pathlib.Path
) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
    """Adds the heat maps to a loaded graph.

    Returns:
      int64 [batch], the classes that the heat maps are for; and what to fetch.
    """
    logits = _find(graph, signatures.LOGITS)
    seen = _find(graph, signatures.SEEN_IMAGES)
    maps = _find(graph, signatures.LAST_MAPS)
    if logits is None or seen is None:
        raise ConfigError(
            f"an earlier version of slimline exported the model in {folder}, without what"
            " a heat map needs; train it again with slimline run"
        )
    if maps is None:
        raise ConfigError(
            f"the net of the model in {folder} has no layer with maps, so no part of its"
            " answer has a place in the image"
        )
    # Those of the answer; with test-time views the logits are of the image as it is.
    probabilities = _find(graph, signatures.PROBABILITIES)
    if probabilities is None:
        probabilities = tf.nn.softmax(logits)
    chosen = v1.placeholder_with_default(tf.argmax(probabilities, axis=1), [None])
    class_weights = _find(graph, signatures.CLASS_WEIGHTS)
    if class_weights is None:
        weights = _mean_gradients(logits, maps, chosen)
    else:
        weights = tf.gather(tf.transpose(class_weights), chosen)
    return chosen, {
        "classes": chosen,
        "scores": tf.gather(probabilities, chosen, batch_dims=1),
        "evidence": tf.einsum("bhwc,bc->bhw", maps, weights),
        "seen": seen,
    }


def _find(graph: tf.Graph, name: str) -> tf.Tensor | None:
    try:
        return graph.get_tensor_by_name(f"{name}:0")
    except KeyError:
        return None


def _mean_gradients(
    logits: tf.Tensor, maps: tf.Tensor, classes: tf.Tensor
) -> tf.Tensor:
    """Gradient of the logit of each image's class, mean of each map; float32 [batch, channels].

    `maps` is the named copy of the maps that the logits are computed from.
    """
    # Images do not mix in inference, so one sum serves the whole batch.
    total = tf.reduce_sum(tf.gather(logits, classes, batch_dims=1))
    (gradients,) = tf.gradients(total, [maps.op.inputs[0]])
    return tf.reduce_mean(gradients, axis=[1, 2])


def _explanations(
    values: dict[str, Any], labels: Sequence[str]
) -> Iterator[Explanation]:
    columns = (values[name] for name in ("classes", "scores", "evidence", "seen"))
    for place, score, evidence, seen in zip(*columns, strict=True):
        positive = np.maximum(evidence, 0.0)
        highest = positive.max()
        heat = positive / highest if highest > 0 else positive
        image = np.clip(np.rint(seen), 0, 255).astype(np.uint8)
        yield Explanation(labels[place], float(score), heat, image)

"""Tiny versions that really decode images, as the Trainer exports and the pusher pushes them."""

import importlib.util
import io
import pathlib
import shutil
import sys
from collections.abc import Callable, Sequence

import numpy as np
import pytest
import tensorflow as tf
import tensorflow.compat.v1 as v1
from PIL import Image

from pushed_models import models_config, signatures, versions
from schema import features
from storage import manifest
from trainer import warm_up

LABELS = ("red", "green", "blue", *(f"class_{place}" for place in range(3, 100)))
SHARPNESS = 4.0
# One image a class, and some in between.
RECORDED_COLOURS = (
    (250, 10, 20),
    (30, 220, 9),
    (0, 70, 200),
    (90, 90, 90),
    (9, 99, 42),
)


@pytest.fixture(scope="session")
def png() -> Callable[..., bytes]:
    """Function (red, green, blue, side_px=4, kind="PNG") -> encoded image of one colour."""
    return _encode


@pytest.fixture(scope="session")
def example() -> Callable[[bytes], bytes]:
    """Function (encoded image) -> serialised tf.Example."""
    return _example


@pytest.fixture(scope="session")
def offline() -> Callable[..., np.ndarray]:
    """Function (colours, num_classes=3, bias=0.0) -> probabilities of such images.

    Worked out without the graph: float32 [images, num_classes].
    """
    return _probabilities


@pytest.fixture(scope="session")
def write_model() -> Callable[..., pathlib.Path]:
    """Function (folder, version, num_classes=3, bias=0.0, **more) -> folder/version.

    `folder` is a model's, `<root>/serving/<name>`. The version appears by rename, whole.
    """
    return _write_model


def _write_model(
    folder: pathlib.Path,
    version: int,
    num_classes: int = 3,
    bias: float = 0.0,
    *,
    labels: Sequence[str] = (),
    asset: Sequence[str] | None = (),
    signature_names: Sequence[str] = (),
    tamper: Callable[[tf.Tensor], tf.Tensor] | None = None,
    has_recorded: bool = True,
    has_manifest: bool = True,
) -> pathlib.Path:
    """Writes a version.

    Args:
      folder: of the model.
      version: its number.
      num_classes: the first three are told by colour: red, green, blue.
      bias: added to the logit of the first class, so that versions answer differently.
      labels: class names; () takes `LABELS`.
      asset: names in labels.txt; () takes the class names, None writes no such file.
      signature_names: that it has; () for all.
      tamper: changes the encoded images in the graph, for models that do what they must
        not.
      has_recorded: whether recorded answers and warm-up requests travel along.
      has_manifest: whether a manifest does.
    """
    labels = tuple(labels) or LABELS[:num_classes]
    staging = folder / f".staging-{version}"
    scratch = folder / f".scratch-{version}"
    scratch.mkdir(parents=True)
    with tf.Graph().as_default(), v1.Session() as session:
        definitions = _build(labels, bias, tamper)
        if asset is not None:
            path = scratch / signatures.LABELS_ASSET
            path.write_text("".join(f"{label}\n" for label in asset or labels))
            v1.add_to_collection(v1.GraphKeys.ASSET_FILEPATHS, tf.constant(str(path)))
        session.run(v1.global_variables_initializer())
        writer = v1.saved_model.Builder(str(staging))
        writer.add_meta_graph_and_variables(
            session,
            [tf.saved_model.SERVING],
            signature_def_map={
                name: definition
                for name, definition in definitions.items()
                if name in (signature_names or definitions)
            },
            assets_collection=v1.get_collection(v1.GraphKeys.ASSET_FILEPATHS),
            main_op=v1.tables_initializer(),
            strip_default_attrs=True,
        )
        writer.save()
    if has_recorded:
        _record(staging, num_classes, bias)
    if has_manifest:
        manifest.write(staging)
    shutil.rmtree(scratch)
    staging.rename(folder / str(version))
    return folder / str(version)


def _build(
    labels: Sequence[str],
    bias: float,
    tamper: Callable[[tf.Tensor], tf.Tensor] | None,
) -> dict[str, object]:
    """The graph of a version in the default graph; its signatures."""
    examples = v1.placeholder(tf.string, [None], name="examples")
    parsed = tf.io.parse_example(
        examples, {features.ENCODED: tf.io.FixedLenFeature([], tf.string)}
    )
    encoded = v1.placeholder_with_default(
        parsed[features.ENCODED], [None], name="images"
    )
    images = tamper(encoded) if tamper else encoded
    means = tf.map_fn(_mean_colour, images, fn_output_signature=tf.float32)
    means.set_shape([None, 3])
    weights = v1.get_variable(
        "weights",
        initializer=tf.constant(SHARPNESS * np.eye(3, len(labels)), tf.float32),
    )
    biases = v1.get_variable(
        "biases", initializer=tf.constant([bias] + [0.0] * (len(labels) - 1))
    )
    probabilities = tf.nn.softmax(tf.matmul(means, weights) + biases)
    scores, order = tf.nn.top_k(probabilities, k=len(labels))
    classes = tf.gather(tf.constant(list(labels)), order)
    outputs = {
        signatures.PROBABILITIES: probabilities,
        signatures.CLASSES: classes,
        signatures.SCORES: scores,
    }
    return {
        signatures.SERVING_DEFAULT: v1.saved_model.predict_signature_def(
            {"examples": examples}, outputs
        ),
        signatures.PREDICT_IMAGES: v1.saved_model.predict_signature_def(
            {"images": encoded}, outputs
        ),
        signatures.CLASSIFY: v1.saved_model.classification_signature_def(
            examples, classes, scores
        ),
    }


def _mean_colour(encoded: tf.Tensor) -> tf.Tensor:
    image = tf.io.decode_image(encoded, channels=3, expand_animations=False)
    return tf.reduce_mean(tf.cast(image, tf.float32), [0, 1]) / 255.0


def _probabilities(
    colours: Sequence[tuple[int, int, int]], num_classes: int = 3, bias: float = 0.0
) -> np.ndarray:
    logits = SHARPNESS * np.asarray(colours, np.float64) / 255 @ np.eye(3, num_classes)
    logits[:, 0] += bias
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)


def _record(folder: pathlib.Path, num_classes: int, bias: float) -> None:
    """Recorded answers, in the form of `trainer.recording`, and warm-up requests."""
    path = folder.with_name(f".recording-{folder.name}")
    probabilities = _probabilities(RECORDED_COLOURS, num_classes, bias)
    with tf.io.TFRecordWriter(str(path), "GZIP") as writer:
        for colour, row in zip(RECORDED_COLOURS, probabilities, strict=True):
            writer.write(
                tf.train.Example(
                    features=tf.train.Features(
                        feature={
                            features.ENCODED: _bytes_feature(_encode(*colour)),
                            signatures.PROBABILITIES: tf.train.Feature(
                                float_list=tf.train.FloatList(value=row)
                            ),
                        }
                    )
                ).SerializeToString()
            )
    warm_up.add(folder, path)
    path.unlink()


def _encode(
    red: int, green: int, blue: int, side_px: int = 4, kind: str = "PNG"
) -> bytes:
    target = io.BytesIO()
    Image.new("RGB", (side_px, side_px), (red, green, blue)).save(target, kind)
    return target.getvalue()


def _example(encoded: bytes) -> bytes:
    return tf.train.Example(
        features=tf.train.Features(feature={features.ENCODED: _bytes_feature(encoded)})
    ).SerializeToString()


def _bytes_feature(value: bytes) -> tf.train.Feature:
    return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))


@pytest.fixture(scope="session")
def serve_process():
    """The helper beside this file; tests are no package."""
    path = pathlib.Path(__file__).with_name("serve_process.py")
    spec = importlib.util.spec_from_file_location("serve_process", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def served(serve_process, tmp_path_factory):
    """`slimline serve` over two models: colours, stable 1 and canary 2; and wide 7."""
    root = tmp_path_factory.mktemp("root")
    folder = root / versions.SERVING_FOLDER
    _write_model(folder / "colours", 1)
    _write_model(folder / "colours", 2, bias=1.5)
    _write_model(folder / "wide", 7, num_classes=12)
    labels = {models_config.STABLE: 1, models_config.CANARY: 2}
    models_config.write(folder, {"colours": models_config.Entry((1, 2), labels)})
    with serve_process.serving(
        root, "--allowed-host", "models.internal", audit=root / "audit.txt"
    ) as running:
        yield running

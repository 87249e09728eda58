"""A pushed model in this process: takes images, returns class names and scores."""

import os
import pathlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from common.errors import ConfigError
from pushed_models import class_names, models_config, signatures, versions
from serving import encoding
from serving.prediction import Prediction, check_request, name_of

if TYPE_CHECKING:
    import numpy as np

# Bounds the memory of a call; larger batches are no faster on a CPU.
BATCH_SIZE = 64


class LocalModel:
    """A SavedModel with the signature `predict_images`."""

    def __init__(self, folder: pathlib.Path, labels: tuple[str, ...], loaded: Any):
        """Use `load`, which has the arguments; `labels` are in label order."""
        self.folder = folder
        self.labels = labels
        self._loaded = (
            loaded  # its signatures hold only weak references to its variables
        )
        self._signature = loaded.signatures[signatures.PREDICT_IMAGES]

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "LocalModel":
        """The model in a version's folder, or the live version of a model's folder.

        Raises:
          ConfigError: there is no such model, or it has no `predict_images` signature.
        """
        folder = _version_folder(pathlib.Path(path).expanduser())
        try:
            labels = class_names.of_model(folder)
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(
                f"the model in {folder} names no classes: {error}"
            ) from error
        import tensorflow as tf

        try:
            loaded = tf.saved_model.load(str(folder))
        except (OSError, ValueError, tf.errors.OpError) as error:
            raise ConfigError(f"cannot load the model in {folder}: {error}") from error
        if signatures.PREDICT_IMAGES not in loaded.signatures:
            raise ConfigError(
                f"the model in {folder} takes no images",
                found=f"signatures {', '.join(sorted(loaded.signatures)) or 'none'}",
                expected=signatures.PREDICT_IMAGES,
            )
        return cls(folder, labels, loaded)

    def predict(self, images: Sequence[Any], top: int = 5) -> list[Prediction]:
        """A prediction for each image, in order.

        Args:
          images: each a path, encoded bytes (JPEG, PNG, GIF, TIFF, ...), a PIL image, or a
            uint8 array [height, width] or [height, width, channels].
          top: how many classes to give, at most all.

        Raises:
          DataError: an image cannot be read; the error names it.
          TypeError: `images` is one image, not a sequence.
          ValueError: `top` is less than 1.
        """
        check_request(images, top)
        predictions: list[Prediction] = []
        for start in range(0, len(images), BATCH_SIZE):
            batch = enumerate(images[start : start + BATCH_SIZE], start)
            encoded = [
                encoding.encode(one, name_of(one, place)) for place, one in batch
            ]
            predictions += self.predict_encoded(encoded, top)
        return predictions

    def predict_encoded(self, encoded: list[bytes], top: int) -> list[Prediction]:
        """A prediction for each of JPEG or PNG bytes, as one batch.

        Raises:
          tf.errors.InvalidArgumentError: the graph cannot decode one of them.
        """
        outputs = self._run(encoded)
        classes = outputs[signatures.CLASSES].numpy()[:, :top].tolist()
        scores = outputs[signatures.SCORES].numpy()[:, :top].tolist()
        return [
            Prediction.of([label.decode() for label in best], of_best)
            for best, of_best in zip(classes, scores, strict=True)
        ]

    def probabilities(self, encoded: list[bytes]) -> "np.ndarray":
        """Probabilities of JPEG or PNG bytes, as one batch.

        Returns:
          float32 [batch, num_classes], in label order.

        Raises:
          tf.errors.InvalidArgumentError: the graph cannot decode one of them.
        """
        probabilities: np.ndarray = self._run(encoded)[signatures.PROBABILITIES].numpy()
        return probabilities

    def _run(self, encoded: list[bytes]) -> Any:
        import tensorflow as tf

        return self._signature(images=tf.constant(encoded, tf.string))


def model_names(root: pathlib.Path) -> list[str]:
    """Names of the models under `root` that have a complete version, sorted."""
    folder = root / versions.SERVING_FOLDER
    if not folder.is_dir():
        return []
    return sorted(path.name for path in folder.iterdir() if versions.numbers(path))


def find_model(root: pathlib.Path, wanted: str | None = None) -> pathlib.Path:
    """Folder of the version that `wanted` names.

    Args:
      root: folder of the runs; models lie in its `serving/`.
      wanted: 'cifar10' (its live version), 'cifar10@6', or the path of a model's or a
        version's folder. None means the only model, not counting those of `--tiny` runs.
        A name takes precedence over a path; write './cifar10' for the folder.

    Raises:
      ConfigError: there is no such model, or several for None.
    """
    folder, known = root / versions.SERVING_FOLDER, model_names(root)
    if wanted is None:
        known = [n for n in known if not n.endswith(versions.TINY_SUFFIX)] or known
        if not known:
            raise ConfigError(f"no model in {folder}", tip=versions.TRAIN_TIP)
        if len(known) > 1:
            raise ConfigError(
                f"which model? there are {len(known)} in {folder}",
                found=", ".join(known),
                tip=f"--model {known[0]}",
            )
        return _version_folder(folder / known[0])
    name, at, version = wanted.partition("@")
    if name not in known:
        path = pathlib.Path(wanted).expanduser()
        if path.is_dir():
            return _version_folder(path)
        raise ConfigError(
            f"no model '{wanted}'",
            found=f"{', '.join(known) or 'no models'} in {folder}",
            expected="a name, NAME@VERSION, or the folder of a SavedModel",
            tip="" if known else versions.TRAIN_TIP,
        )
    if not at:
        return _version_folder(folder / name)
    numbers = [str(number) for number in versions.numbers(folder / name)]
    if version not in numbers:
        raise ConfigError(
            f"model '{name}' has no version '{version}'",
            found=", ".join(reversed(numbers)),
        )
    return folder / name / version


def _version_folder(path: pathlib.Path) -> pathlib.Path:
    if (path / versions.SAVED_MODEL_FILE).is_file():
        return path
    live = models_config.live(path)
    if live is None:
        raise ConfigError(
            f"no model in {path}",
            expected=f"{versions.SAVED_MODEL_FILE}, or versions like 1/, 2/ with it",
            tip=versions.TRAIN_TIP,
        )
    return path / str(live)

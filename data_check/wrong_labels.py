"""Labels that are likely wrong, by cleanlab."""

import dataclasses
import json
import pathlib
import warnings
from collections.abc import Sequence

import numpy as np

from common.errors import ConfigError, DataError
from components.model_evaluator import gate, predictions


@dataclasses.dataclass(frozen=True)
class WrongLabel:
    """An image whose class a model doubts.

    Attributes:
      key: of the image.
      given: its class.
      suggested: the most probable other class.
      score: probability of the given class, in [0, 1]; the lower, the more doubtful.
    """

    key: str
    given: str
    suggested: str
    score: float


def of_evaluation(uri: str) -> tuple[WrongLabel, ...]:
    """Likely wrong labels of the test images of a run, which its model was not trained on.

    Args:
      uri: folder of the run's evaluation.

    Raises:
      ConfigError: cleanlab is not installed.
      DataError: what the model said is gone.
    """
    try:
        table = predictions.read(uri)
        text = (pathlib.Path(uri) / gate.VERDICT_FILE).read_text(encoding="utf-8")
    except OSError as error:
        raise DataError(
            f"the predictions of the run are gone ({uri})",
            tip="run it again with --no-cache",
        ) from error
    class_names = json.loads(text)["labels"]
    rows = table[predictions.PROBABILITIES].tolist()
    return find_wrong_labels(
        table[predictions.KEY].tolist(),
        table[predictions.LABEL].to_numpy(),
        np.array(rows, np.float32).reshape(-1, len(class_names)),
        class_names,
    )


def find_wrong_labels(
    keys: Sequence[str],
    labels: np.ndarray,
    probabilities: np.ndarray,
    class_names: Sequence[str],
) -> tuple[WrongLabel, ...]:
    """Images whose label is likely wrong, the most doubtful first.

    Args:
      keys: of the images, [n].
      labels: int [n], in [0, num_classes).
      probabilities: float32 [n, num_classes] of a model that was not trained on these
        images; else it has learnt the wrong labels, too.
      class_names: [num_classes], in label order.

    Raises:
      ConfigError: cleanlab is not installed.
      DataError: the arrays do not fit each other, or are no probabilities.

    Reference: Northcutt et al., arXiv:1911.00068, with cleanlab's default filter (prune by
    noise rate), ranked by self-confidence.
    """
    _check(keys, labels, probabilities, class_names)
    if not len(keys) or len(class_names) < 2:
        return ()
    try:
        from cleanlab import filter as cleanlab_filter
    except ImportError as error:
        raise ConfigError(
            "likely wrong labels are found by cleanlab, which is not installed",
            tip="the extra 'data' brings it: uv pip install --editable '.[data]' in the"
            " checkout",
        ) from error
    # float32 rows sum to one less exactly than cleanlab's thresholds deserve.
    exact = probabilities.astype(np.float64)
    exact /= exact.sum(axis=1, keepdims=True)
    with warnings.catch_warnings():
        # That a class has hardly any images is seen elsewhere.
        warnings.simplefilter("ignore")
        rows = cleanlab_filter.find_label_issues(
            labels, exact, return_indices_ranked_by="self_confidence", n_jobs=1
        )
    return tuple(_describe(row, keys, labels, exact, class_names) for row in rows)


def _describe(
    row: int,
    keys: Sequence[str],
    labels: np.ndarray,
    probabilities: np.ndarray,
    class_names: Sequence[str],
) -> WrongLabel:
    given = int(labels[row])
    others = probabilities[row].copy()
    others[given] = -1.0
    return WrongLabel(
        keys[row],
        class_names[given],
        class_names[int(others.argmax())],
        round(float(probabilities[row, given]), 4),
    )


def _check(
    keys: Sequence[str],
    labels: np.ndarray,
    probabilities: np.ndarray,
    class_names: Sequence[str],
) -> None:
    expected = (len(keys), len(class_names))
    if labels.shape != expected[:1] or probabilities.shape != expected:
        raise DataError(
            "labels and probabilities do not belong to these images and classes",
            found=f"labels {labels.shape}, probabilities {probabilities.shape}",
            expected=f"{expected[:1]} and {expected}",
        )
    if not np.all((labels >= 0) & (labels < len(class_names))):
        wrong = sorted({int(label) for label in labels} - set(range(len(class_names))))
        raise DataError(
            "unknown labels",
            found=", ".join(map(str, wrong[:5])),
            expected=f"0 to {len(class_names) - 1}",
        )
    if not np.allclose(probabilities.sum(axis=1), 1.0, atol=1e-3) or np.any(
        probabilities < 0
    ):
        raise DataError(
            "invalid probabilities",
            found="rows with a negative value, or that do not sum to 1",
            tip="give the model's probabilities, not its logits",
        )

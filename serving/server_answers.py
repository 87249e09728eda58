"""What a model server answers, whichever interface it came through."""

import dataclasses
from collections.abc import Sequence
from typing import Any

AVAILABLE = "AVAILABLE"


@dataclasses.dataclass(frozen=True)
class VersionStatus:
    """State of one version of a model.

    Attributes:
      version: its number.
      state: 'START', 'LOADING', 'AVAILABLE', 'UNLOADING' or 'END'.
      error_code: name of gRPC's status code; 'OK' where nothing is wrong.
      error_message: why the version is not served, or ''.
    """

    version: int
    state: str
    error_code: str = "OK"
    error_message: str = ""


@dataclasses.dataclass(frozen=True)
class Rows:
    """Outputs of the signature `predict_images` for a batch; each has a row an image.

    Attributes:
      classes: names, best first.
      scores: their probabilities.
      probabilities: the same in label order.
      version: that answered, or None where the server does not say.
    """

    classes: Sequence[Sequence[str]]
    scores: Sequence[Sequence[float]]
    probabilities: Sequence[Sequence[float]]
    version: int | None = None


def statuses(document: Any) -> list[VersionStatus]:
    """States from the JSON of a GetModelStatusResponse.

    Raises:
      KeyError, TypeError, ValueError, AttributeError: it is no such thing.
    """
    found = []
    for entry in document["model_version_status"]:
        status = entry.get("status", {})
        found.append(
            VersionStatus(
                version=int(entry["version"]),
                state=str(entry["state"]),
                error_code=str(status.get("error_code", "OK")),
                error_message=str(status.get("error_message", "")),
            )
        )
    return found


def labels_of(rows: Rows) -> tuple[str, ...]:
    """Class names in label order, which no answer holds as such.

    Probabilities in label order and names by falling probability tell it, where no two
    probabilities of an image are equal.

    Returns:
      The names, or () where every row leaves it open.
    """
    for names, probabilities in zip(rows.classes, rows.probabilities, strict=True):
        if len(set(probabilities)) == len(names) == len(probabilities):
            order = sorted(range(len(names)), key=lambda place: -probabilities[place])
            by_label = dict(zip(order, names, strict=True))
            return tuple(by_label[place] for place in range(len(names)))
    return ()

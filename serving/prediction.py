"""The prediction of a model, local or on a server, for one image."""

import dataclasses
import os
from collections.abc import Sequence
from typing import Any

from common import notebook_html


@dataclasses.dataclass(frozen=True)
class Prediction:
    """The prediction for one image.

    Attributes:
      label: the most probable class.
      score: its probability.
      top: (label, score), best first.
    """

    label: str
    score: float
    top: list[tuple[str, float]]

    def __repr__(self) -> str:
        return f"<Prediction {self.label!r} {self.score:.4f}>"

    def _repr_html_(self) -> str:
        """The classes with their probabilities as bars, for a notebook."""
        return notebook_html.bars(self.top)

    @classmethod
    def of(cls, classes: Sequence[str], scores: Sequence[float]) -> "Prediction":
        """From class names and their probabilities, best first."""
        top = list(zip(classes, map(float, scores), strict=True))
        return cls(label=top[0][0], score=top[0][1], top=top)


def check_request(images: Sequence[Any], top: int) -> None:
    """Checks the arguments of a prediction.

    Raises:
      TypeError: `images` is one image, not a sequence.
      ValueError: `top` is less than 1.
    """
    if isinstance(images, str | bytes | os.PathLike):
        raise TypeError(
            f"`images` must be a sequence of images. Received one"
            f" {type(images).__name__}; put it into a list."
        )
    if top < 1:
        raise ValueError(f"`top` must be at least 1. Received {top}.")


def name_of(image: Any, place: int) -> str:
    """Name in messages of the image at `place` of a request."""
    is_path = isinstance(image, str | os.PathLike)
    return str(image) if is_path else f"number {place}"

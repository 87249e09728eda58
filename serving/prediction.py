"""What a model says about an image, wherever it runs."""

import dataclasses
import os
from collections.abc import Sequence
from typing import Any

from serving import notebook_html


@dataclasses.dataclass(frozen=True)
class Prediction:
    """What the model says about one image.

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
        """What a notebook shows: the classes with their probabilities as bars."""
        return notebook_html.bars(self.top)

    @classmethod
    def of(cls, classes: Sequence[str], scores: Sequence[float]) -> "Prediction":
        """From class names and their probabilities, best first."""
        top = list(zip(classes, map(float, scores), strict=True))
        return cls(label=top[0][0], score=top[0][1], top=top)


def check_request(images: Sequence[Any], top: int) -> None:
    """Refuses what no model can be asked.

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
    """What messages call the image at `place` of a request."""
    is_path = isinstance(image, str | os.PathLike)
    return str(image) if is_path else f"number {place}"

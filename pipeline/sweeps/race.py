"""How many updates each of several trainings needed to the same loss."""

import dataclasses
import pathlib
from collections.abc import Mapping

import numpy as np

from trainer import history

# Of the some 200 losses in a training's table: a single batch is noise.
WINDOW = 9


@dataclasses.dataclass(frozen=True)
class Race:
    """The lowest loss that every training reached.

    Attributes:
      loss: mean over WINDOW rows of the table of losses.
      steps: by training, the update in the middle of the first window that reached it.
    """

    loss: float
    steps: dict[str, int]

    def __str__(self) -> str:
        """As 'loss 0.85: batch_norm 1,200 steps, no_batch_norm 6,000 (5.0 times)'."""
        first = min(self.steps.values())
        parts = [
            f"{name} {step:,} steps"
            + (f" ({step / first:.1f} times)" if step > first else "")
            for name, step in self.steps.items()
        ]
        return f"loss {self.loss:.3g}: {', '.join(parts)}"


def run(folders: Mapping[str, pathlib.Path]) -> Race | None:
    """Compares trainings; None for fewer than two, or where one has too few losses.

    Args:
      folders: by name, with the table of losses of each training.
    """
    curves = {name: _smooth(folder) for name, folder in folders.items()}
    if len(curves) < 2 or any(not len(losses) for _, losses in curves.values()):
        return None
    loss = max(float(losses.min()) for _, losses in curves.values())
    return Race(
        loss,
        {
            name: int(steps[np.argmax(losses <= loss)])
            for name, (steps, losses) in curves.items()
        },
    )


def _smooth(folder: pathlib.Path) -> tuple[np.ndarray, np.ndarray]:
    """Steps and mean losses of all windows, in order."""
    rows = list(history.read(history.losses(folder)))
    if len(rows) < WINDOW:
        return np.empty(0), np.empty(0)
    losses = np.array([row["loss"] for row in rows])
    steps = np.array([row["step"] for row in rows])
    means = np.convolve(losses, np.full(WINDOW, 1 / WINDOW), mode="valid")
    middle = WINDOW // 2
    return steps[middle : middle + len(means)], means

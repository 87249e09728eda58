"""Detects at the end of a training whether its moving averages have converged.

Inference normalises with moving averages of batch norm's statistics, and the exported
weights may be moving averages themselves. Both can lag behind the training: after few steps
with a long memory, or when the updates do not run at all. The loss then looks right, and
every prediction is wrong.
"""

import dataclasses

import numpy as np

from trainer import evaluation
from trainer.config import TrainerConfig
from trainer.evaluation import Measurement
from trainer.input_pipeline import Split

# Shares of the eval split: less is noise on a small one.
BATCH_NORM_GAP = 0.1
AVERAGE_GAP = 0.05


def findings(
    config: TrainerConfig,
    split: Split,
    num_classes: int,
    checkpoint: str,
    measured: list[Measurement],
) -> list[str]:
    """Sentences on averages that have not converged at the end of a training.

    Args:
      checkpoint: the last one.
      measured: of that checkpoint, with each kind of weights.
    """
    by_weights = {measurement.weights: measurement for measurement in measured}
    raw = by_weights["raw"]
    found = []
    with evaluation.EvalSession(
        config, _mixed(split, config.train.seed), num_classes, norm_by_batch=True
    ) as session:
        if session.has_batch_norm:
            by_batch = session.measure_one(checkpoint, raw.step, "raw")
            if by_batch.top_1 - raw.top_1 > BATCH_NORM_GAP:
                found.append(
                    "batch norm's moving averages do not follow the data: eval top-1 is"
                    f" {raw.top_1:.3f} with them and {by_batch.top_1:.3f} with the"
                    " statistics of each batch; train longer, or take a net with a"
                    " shorter memory (norm_decay)"
                )
    average = by_weights.get("ema")
    if average and raw.top_1 - average.top_1 > AVERAGE_GAP:
        found.append(
            "the moving average of the weights is far behind: eval top-1 is"
            f" {average.top_1:.3f} with it and {raw.top_1:.3f} without; train longer, or"
            f" --set train.ema_decay={_shorter(config.train.ema_decay):g}"
        )
    return found


def _mixed(split: Split, seed: int) -> Split:
    """The same images in another order: files may hold a class after the other."""
    if split.images is None or split.labels is None:
        return split
    order = np.random.default_rng(seed).permutation(split.num_examples)
    return dataclasses.replace(
        split, images=split.images[order], labels=split.labels[order]
    )


def _shorter(decay: float) -> float:
    """A decay with a fifth of the memory."""
    return round(max(0.0, 1 - 5 * (1 - decay)), 6)

"""How sure a figure is: 95 % intervals of shares, means and paired differences."""

import math

import numpy as np
from scipy import stats

CONFIDENCE = 0.95
_QUANTILE = float(stats.norm.ppf(0.5 + CONFIDENCE / 2))
_RESAMPLES = 999
_SEED = 0
# Resamples held in memory at once.
_BATCH = 20

Interval = tuple[float, float]


def of_share(hits: int, count: int) -> Interval:
    """Wilson's interval of a share.

    Reference: Wilson, J. Am. Stat. Assoc. 22 (1927).
    """
    found = stats.binomtest(hits, count).proportion_ci(CONFIDENCE, method="wilson")
    return float(found.low), float(found.high)


def of_mean(values: np.ndarray) -> Interval:
    """Percentile bootstrap of a mean, always with the same resamples.

    Args:
      values: float [n].
    """
    if len(values) < 2 or np.all(values == values[0]):
        return float(np.mean(values)), float(np.mean(values))
    found = stats.bootstrap(
        (values,),
        np.mean,
        n_resamples=_RESAMPLES,
        batch=_BATCH,
        confidence_level=CONFIDENCE,
        method="percentile",
        random_state=np.random.default_rng(_SEED),
    ).confidence_interval
    return float(found.low), float(found.high)


def of_paired_shares(hits: np.ndarray, other_hits: np.ndarray) -> Interval:
    """Interval of the difference of two shares measured on the same images.

    Only images on which the two differ tell anything. One image is added to either side, so
    that the interval does not shrink to nothing where none differs.

    Args:
      hits: bool [n]. other_hits: bool [n]; what is taken away.

    Reference: Bonett and Price, J. Educ. Behav. Stat. 37 (2012).
    """
    count = len(hits) + 2
    gained = (np.count_nonzero(hits & ~other_hits) + 1) / count
    lost = (np.count_nonzero(~hits & other_hits) + 1) / count
    difference = gained - lost
    margin = _QUANTILE * math.sqrt((gained + lost - difference**2) / count)
    return max(-1.0, difference - margin), min(1.0, difference + margin)


def mcnemar(hits: np.ndarray, other_hits: np.ndarray) -> float:
    """Exact p-value of the hypothesis that both are right equally often.

    Args:
      hits: bool [n]. other_hits: bool [n], of the same images.

    Reference: McNemar, Psychometrika 12 (1947).
    """
    gained = int(np.count_nonzero(hits & ~other_hits))
    lost = int(np.count_nonzero(~hits & other_hits))
    if gained + lost == 0:
        return 1.0
    return float(stats.binomtest(gained, gained + lost).pvalue)

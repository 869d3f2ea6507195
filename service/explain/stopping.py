"""When more samples would not change the order of the strongest segments.

After n of N samples each weight has a standard error, and the weights after all N samples
would lie around those of now with the variance V(1 - n/N): the n are among the N. From that
follows, for each two neighbours in the ranking, the chance that they keep their order; the
product over the first k ranks is the confidence that the ranking stays. Sampling ends as
soon as it reaches what was asked for.

The test looks again and again and assumes that neighbours swap independently, so the
confidence is nominal; `tests/bench/stopping.py` says how often the order was the same.

Source: the sandwich estimator of a weighted regression's covariance, White 1980,
doi 10.2307/1912934; the conditional-variance argument is that of interim analyses.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

#: How many of the strongest segments must keep their order.
TOP = 5
#: Samples between two looks, and segments' multiple of samples before the first.
STEP = 50
SAMPLES_PER_SEGMENT = 5
_RIDGE = 1.0


def first_look(segments: int) -> int:
    """Samples before which the covariance of so many weights says nothing."""
    return max(2 * STEP, SAMPLES_PER_SEGMENT * segments)


def confidence(
    shown: NDArray[np.int64],
    scores: NDArray[np.floating[Any]],
    proximities: NDArray[np.float64],
    total: int,
    top: int = TOP,
) -> float:
    """The chance that the strongest segments keep their order until all samples are drawn.

    Args:
        shown: (n, S) masks so far.
        scores: (n,) of one label.
        proximities: (n,) kernel weights.
        total: N, samples that there would be, > n.
        top: k, ranks that count; fewer where there are fewer segments.

    Returns:
        0 to 1; 0 where the score does not move, for then there is no order.
    """
    weights, covariance = _fit(shown, scores.astype(np.float64), proximities)
    order = np.argsort(-np.abs(weights))[: top + 1]
    if len(order) < 2:
        return 1.0
    size = np.abs(weights[order])
    gaps = size[:-1] - size[1:]
    sign = np.sign(weights[order])
    block = covariance[np.ix_(order, order)] * np.outer(sign, sign)
    own = np.diag(block)
    variance = own[:-1] + own[1:] - 2 * np.diag(block, 1)
    variance = np.maximum(variance, 0) * (1 - len(shown) / total)
    if not (variance > 0).all():
        return 0.0
    return float(np.prod(ndtr(gaps / np.sqrt(variance))))


def _fit(
    shown: NDArray[np.int64], scores: NDArray[np.float64], proximities: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Weights of the ridge on all segments, and their sandwich covariance: (S,), (S, S)."""
    design = np.column_stack([np.ones(len(shown)), shown])
    penalty = _RIDGE * np.eye(design.shape[1])
    penalty[0, 0] = 0
    bread = np.linalg.inv(design.T @ (design * proximities[:, None]) + penalty)
    weights = bread @ (design.T @ (proximities * scores))
    pull = design * (proximities * (scores - design @ weights))[:, None]
    freedom = len(shown) / max(1, len(shown) - design.shape[1])
    covariance = bread @ (pull.T @ pull) @ bread * freedom
    return weights[1:], covariance[1:, 1:]

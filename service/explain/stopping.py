"""When more samples would not change the order of the strongest segments.

After n of N samples each weight has a standard error, and the weights after all N samples
would lie around those of now with the variance V(1 - n/N): the n are among the N. From that
follows, for each two neighbours in the ranking, the chance that they keep their order; the
product over the first k ranks is the confidence that the ranking stays. Sampling ends as
soon as it reaches what was asked for.

The test looks again and again and assumes that neighbours swap independently, so the
confidence is nominal; `tests/bench/stopping.py` says how often the order was the same.

Source: the conditional-variance argument is that of interim analyses of trials; the covariance
is `surrogate.sandwich`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from service.explain.surrogate import sandwich

#: How many of the strongest segments must keep their order.
TOP = 5
#: Samples between two looks, and segments' multiple of samples before the first.
STEP = 50
SAMPLES_PER_SEGMENT = 5


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
    weights, covariance = sandwich(shown, scores.astype(np.float64), proximities)
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

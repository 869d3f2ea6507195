"""When more samples would not change the order of the strongest segments.

The masks of all N samples are known from the start, for the rows are drawn by the seed; only the
scores of those that are not predicted yet are unknown. An emulator, a Gaussian process whose
kernel knows the segments and all pairs of them, is fitted to the n scores there are and predicts
the others. From that follow the weights that all N samples would give, and what their error may
be. Sampling ends as soon as the order of the first k ranks of now is that of then, and the chance
that the errors leave it so reaches what was asked for: for each two neighbours in the ranking the
chance that they keep their order, multiplied.

The emulator only decides when to stop; the weights that are answered are the surrogate's own.
The test looks again and again and takes neighbours for independent, so the confidence is nominal;
`tests/bench/stopping.py` says how often the order was the same.

Sources: kernel and leave-one-out residuals, Rasmussen and Williams 2006, sec. 2.2 and 5.4.2.
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
#: Variances before any score is seen, in those of the noise: of the mean, of what a segment
#: does, of what a pair does beyond its two segments.
_MEAN, _SEGMENT, _PAIR = 1e4, 0.5, 0.25


def first_look(segments: int) -> int:
    """Samples before which the scores say nothing of so many weights."""
    return max(2 * STEP, SAMPLES_PER_SEGMENT * segments)


def confidence(
    shown: NDArray[np.int64],
    scores: NDArray[np.floating[Any]],
    proximities: NDArray[np.float64],
    num_features: int,
    top: int = TOP,
) -> float:
    """The chance that the strongest segments keep their order until all samples are predicted.

    Args:
        shown: (N, S) masks of all samples.
        scores: (n,) of one label, of the first n < N of them.
        proximities: (N,) kernel weights.
        num_features: segments that are fitted together once the strongest are known.
        top: k, ranks that count; fewer where there are fewer segments.

    Returns:
        0 to 1; 0 where the score does not move, for then there is no order.
    """
    n = len(scores)
    known: NDArray[np.float64] = scores.astype(np.float64)
    if not np.ptp(known) > 0:
        return 0.0
    rest, variance = _emulated(shown, known, proximities)
    now, weights, _ = _fitted(shown[:n], known, proximities[:n], num_features)
    order = now[np.argsort(-np.abs(weights))][:top]
    then, weights, bread = _fitted(shown, np.concatenate([known, rest]), proximities, num_features)
    ranks = np.argsort(-np.abs(weights))
    if (order != then[ranks][:top]).any():
        return 0.0
    pull = _design(shown[n:, then]) * proximities[n:, None]
    covariance = variance * (bread @ (pull.T @ pull) @ bread)
    return _kept(weights, covariance[1:, 1:], ranks[: top + 1])


def _emulated(
    shown: NDArray[np.int64], known: NDArray[np.float64], proximities: NDArray[np.float64]
) -> tuple[NDArray[np.float64], float]:
    """Scores of the samples that are not predicted yet, and the variance of their error."""
    segments = shown.shape[1]
    pairs = 1 + segments * (segments + 1) // 2
    by = _by_features if pairs <= len(known) else _by_samples
    signs = (2 * shown - 1).astype(np.float64)
    rest, left_out = by(signs, known, proximities[: len(known)])
    return rest, float(np.average(np.square(left_out), weights=proximities[: len(known)]))


def _by_samples(
    signs: NDArray[np.float64], known: NDArray[np.float64], proximities: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Predictions and leave-one-out residuals through the kernel, (n, n)."""
    n = len(known)
    alike = signs @ signs[:n].T
    kernel = _MEAN + _SEGMENT * alike + _PAIR / 2 * (np.square(alike) - signs.shape[1])
    inverse = np.linalg.inv(kernel[:n] + np.diag(1 / proximities))
    pull = inverse @ known
    return kernel[n:] @ pull, pull / np.diag(inverse)


def _by_features(
    signs: NDArray[np.float64], known: NDArray[np.float64], proximities: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The same through the features that the kernel stands for, where they are fewer."""
    n = len(known)
    first, second = np.triu_indices(signs.shape[1], 1)
    features = np.column_stack(
        [
            np.full(len(signs), np.sqrt(_MEAN)),
            np.sqrt(_SEGMENT) * signs,
            np.sqrt(_PAIR) * signs[:, first] * signs[:, second],
        ]
    )
    seen = features[:n]
    inverse = np.linalg.inv(seen.T @ (seen * proximities[:, None]) + np.eye(seen.shape[1]))
    pull = inverse @ (seen.T @ (proximities * known))
    leverage = proximities * np.einsum("ij,jk,ik->i", seen, inverse, seen, optimize=True)
    return features[n:] @ pull, (known - seen @ pull) / (1 - leverage)


def _fitted(
    shown: NDArray[np.int64],
    scores: NDArray[np.float64],
    proximities: NDArray[np.float64],
    num_features: int,
) -> tuple[NDArray[np.intp], NDArray[np.float64], NDArray[np.float64]]:
    """The segments that the surrogate takes, their weights, and the inverse that makes them."""
    # Upstream chooses by a weaker penalty than it fits by.
    chosen, _ = _ridge(_design(shown), scores, proximities, penalty=0.01)
    used = np.argsort(-np.abs(chosen))[:num_features]
    weights, bread = _ridge(_design(shown[:, used]), scores, proximities, penalty=1.0)
    return used, weights, bread


def _design(shown: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.column_stack([np.ones(len(shown)), shown])


def _ridge(
    design: NDArray[np.float64],
    scores: NDArray[np.float64],
    proximities: NDArray[np.float64],
    penalty: float,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Weights without the intercept, and what makes them out of sums over the samples."""
    shrinks = np.full(design.shape[1], penalty)
    shrinks[0] = 0
    gram = design.T @ (design * proximities[:, None]) + np.diag(shrinks)
    bread: NDArray[np.float64] = np.linalg.inv(gram).astype(np.float64, copy=False)
    return (bread @ (design.T @ (proximities * scores)))[1:], bread


def _kept(
    weights: NDArray[np.float64], covariance: NDArray[np.float64], ranks: NDArray[np.intp]
) -> float:
    """The chance that weights with errors of this covariance are in truth ranked so."""
    if len(ranks) < 2:
        return 1.0
    sign = np.sign(weights[ranks])
    size = sign * weights[ranks]
    block = covariance[np.ix_(ranks, ranks)] * np.outer(sign, sign)
    own = np.diag(block)
    variance = own[:-1] + own[1:] - 2 * np.diag(block, 1)
    if not (variance > 0).all():
        return 0.0
    return float(np.prod(ndtr((size[:-1] - size[1:]) / np.sqrt(variance))))

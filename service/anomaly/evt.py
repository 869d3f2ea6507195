"""Beyond the highest score: a tail fitted to the scores that exceed a high one.

For budgets so small that a calibration has no score that rare. What it says is an order of
magnitude and no guarantee: the fit extrapolates to scores that nobody has seen, from some tens of
exceedances, and a process whose tail bends later than those deceives it. Where there are enough
rows for a conformal threshold, take that.

Source: Pickands 1975, Annals of Statistics 3(1), for the generalised Pareto distribution of
exceedances; Siffer, Fouque, Termier and Largouet 2017, KDD, sec. 3.1 for the threshold; Grimshaw
1993, Technometrics 35(2), for the fit by maximum likelihood in one dimension.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.anomaly.conformal import p_values
from service.anomaly.reference import Scores
from service.calibration import Tail
from service.errors import CalibrationError

#: Share of the scores that are the tail, and fewest of them that are worth a fit.
ABOVE, FEWEST = 0.02, 20
#: Share that they may become where there are few scores.
MOST = 0.1
#: Places at which the likelihood is looked at, and how often the best of them is looked at closer.
PLACES, CLOSER = 200, 6


def fit(reference: Scores) -> Tail:
    """The tail of the reference scores.

    Args:
        reference: (n,) ascending, of anomaly-free rows.

    Raises:
        CalibrationError: there are too few scores, or all high ones are the same.
    """
    n = len(reference)
    count = max(FEWEST, round(ABOVE * n))
    if count > MOST * n:
        raise CalibrationError(
            f"calibration by a tail: got {n} anomaly-free scores, wanted at least "
            f"{math.ceil(FEWEST / MOST)}: a fit takes {FEWEST} that are among the highest tenth. "
            "Collect more anomaly-free rows."
        )
    start = float(reference[n - count - 1])
    excesses = reference[reference > start] - start
    if len(excesses) < FEWEST // 2 or np.ptp(excesses) == 0:
        raise CalibrationError(
            f"calibration by a tail: only {len(excesses)} of the {count} highest scores exceed the "
            f"next one, {start:g}, wanted {FEWEST // 2} different ones. Take --method conformal."
        )
    shape, scale = _most_likely(excesses)
    return Tail(start=start, scale=scale, shape=shape, above=len(excesses) / n)


def threshold(tail: Tail, rate: float) -> float:
    """The score that a share `rate` of anomaly-free rows exceeds, about.

    Args:
        tail: see `fit`.
        rate: in (0, 1), and below the share that is the tail.

    Raises:
        CalibrationError: scores so frequent are not in the tail.
    """
    if not 0 < rate < tail.above:
        raise CalibrationError(
            f"calibration by a tail: got a rate of {rate:g}, wanted more than 0 and below "
            f"{tail.above:g}, the share that is the tail. Take --method conformal."
        )
    part = rate / tail.above
    if abs(tail.shape) < 1e-9:
        return tail.start - tail.scale * math.log(part)
    return tail.start + tail.scale / tail.shape * (math.pow(part, -tail.shape) - 1)


def tail_p_values(reference: Scores, tail: Tail, scores: NDArray[Any]) -> NDArray[np.float64]:
    """How rare scores are: by rank up to where the tail starts, by the tail beyond.

    Args:
        reference: (n,) ascending, of anomaly-free rows.
        tail: fitted to them.
        scores: any shape.

    Returns:
        Of that shape, in [0, 1]; 0 beyond the end of a tail that has one.
    """
    scores = np.asarray(scores, np.float64)
    excess = np.maximum(scores - tail.start, 0.0)
    if abs(tail.shape) < 1e-9:
        left = np.exp(-excess / tail.scale)
    else:
        left = np.maximum(1 + tail.shape * excess / tail.scale, 0.0)
        with np.errstate(divide="ignore"):
            left = left ** (-1 / tail.shape)
    return np.where(scores > tail.start, tail.above * left, p_values(reference, scores))


def _most_likely(excesses: Scores) -> tuple[float, float]:
    """Shape and scale of the highest likelihood; the first of equals.

    The likelihood is looked at along x = shape / scale, which gives the best shape by itself.
    """
    mean, highest = float(excesses.mean()), float(excesses.max())
    low, high = -1 / highest * (1 - 1e-6), 20 / mean
    x = np.concatenate([np.linspace(low, 0, PLACES)[:-1], np.geomspace(1e-6, 1, PLACES) * high])
    for _ in range(CLOSER):
        at = int(np.argmax(_likelihood(x, excesses)))
        x = np.linspace(x[max(at - 1, 0)], x[min(at + 1, len(x) - 1)], PLACES)
    best = float(x[int(np.argmax(_likelihood(x, excesses)))])
    shape = float(np.log1p(best * excesses).mean())
    if abs(best * mean) < 1e-6 or abs(shape) < 1e-6:
        return 0.0, mean  # an exponential
    return shape, shape / best


def _likelihood(x: Scores, excesses: Scores) -> Scores:
    """Mean logarithm of the likelihood at each x, with the best shape there."""
    shape = np.log1p(np.multiply.outer(x, excesses)).mean(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        scale = np.where(np.abs(x) > 1e-12, shape / x, excesses.mean())
        found: Scores = -np.log(scale) - shape - 1
    # Shapes below -1/2 have no sound maximum: the likelihood grows without end towards -1.
    found[(shape < -0.5) | ~np.isfinite(found)] = -np.inf
    return found

"""Conformal p-values: how rare a score is among those of anomaly-free rows.

The guarantee. Let n anomaly-free rows be exchangeable with the anomaly-free rows to come (drawn
from the same process, none of them seen in training). Then a new one has a p-value of at most
alpha with probability at most alpha, whatever the model and whatever the distribution: a budget
of false alarms holds, on average over calibrations.

Its limit. One calibration is one draw: the rate that it realises is itself random, distributed as
Beta(k, n + 1 - k) with k the largest whole number of at most alpha (n + 1). With few rows it is
far off: to be within a quarter of the budget in nine cases of ten takes about 4,200 rows for 1 %,
43,000 for 0.1 % and 430,000 for 0.01 %. Below 1 / alpha - 1 rows no score at all would be rare
enough, and the budget is refused. Nothing holds once the process drifts: see `adaptive`.

Source: Vovk, Gammerman and Shafer 2005, "Algorithmic Learning in a Random World"; Bates, Candes,
Lei, Romano and Sesia 2021, arXiv:2104.08279, sec. 2 for the test, and sec. 3 for the rate that
one calibration realises.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.anomaly.reference import Scores
from service.errors import CalibrationError

#: How far off the realised rate may be, in which share of cases, before people are told.
WITHIN, LEVEL = 0.25, 0.9


def p_values(reference: Scores, scores: NDArray[Any]) -> NDArray[np.float64]:
    """How rare scores are: (1 + number of reference scores as high) / (n + 1).

    Args:
        reference: (n,) ascending, of anomaly-free rows.
        scores: any shape; NaN counts as lower than all, so validate first.

    Returns:
        Of that shape, in [1 / (n + 1), 1].
    """
    as_high = len(reference) - np.searchsorted(reference, scores, side="left")
    return np.asarray((1.0 + as_high) / (len(reference) + 1.0), np.float64)


def threshold(reference: Scores, rate: float) -> float:
    """The score above which p-values are at most `rate`: the k-th highest of the reference.

    Args:
        reference: (n,) ascending, of anomaly-free rows.
        rate: of false alarms, in (0, 1).

    Raises:
        CalibrationError: there are too few scores for this rate.
    """
    return float(reference[len(reference) - rank(len(reference), rate)])


def rank(n: int, rate: float) -> int:
    """k, the largest whole number with k / (n + 1) <= rate: how high a score is an alarm.

    Raises:
        CalibrationError: it is 0: no score would ever be rare enough.
    """
    _check(rate)
    k = min(n, math.floor(rate * (n + 1)))
    # A product is rounded: 0.29 of 100 is not 29. A quotient is compared as p-values are.
    while k < n and (k + 1) / (n + 1) <= rate:
        k += 1
    while k > 0 and k / (n + 1) > rate:
        k -= 1
    if k < 1:
        raise CalibrationError(
            f"calibration: got {n} anomaly-free scores for a budget of {rate:g}, wanted at least "
            f"{fewest_rows(rate)} (and {wanted_rows(rate)} for a realised rate within "
            f"{100 * WITHIN:g} % of it in {100 * LEVEL:g} % of cases). Collect more anomaly-free "
            f"rows, or allow a rate of {1 / (n + 1):.3g} or more."
        )
    return k


def fewest_rows(rate: float) -> int:
    """Anomaly-free rows without which no score is rare enough for the rate: 1 / rate - 1."""
    _check(rate)
    n = max(1, math.ceil(1 / rate) - 1)
    while 1 / (n + 1) > rate:
        n += 1
    while n > 1 and 1 / n <= rate:
        n -= 1
    return n


def wanted_rows(rate: float, within: float = WITHIN, level: float = LEVEL) -> int:
    """Anomaly-free rows for a realised rate that is close to the rate asked for.

    Args:
        rate: of false alarms, in (0, 1).
        within: largest relative distance, in (0, 1).
        level: share of calibrations that are so close, in (0, 1).

    Returns:
        The smallest n, to about a part in a thousand, of which a share `level` of calibrations
        realise a rate within `rate` * (1 +- `within`).
    """
    low, high = fewest_rows(rate), fewest_rows(rate)
    while not _close(high, rate, within, level):
        low, high = high, 2 * high + 1
    while high - low > max(1, high // 1000):
        middle = (low + high) // 2
        low, high = (low, middle) if _close(middle, rate, within, level) else (middle, high)
    return high


def realised(n: int, rate: float, level: float = LEVEL) -> tuple[float, float]:
    """Between which rates the realised one lies, in a share `level` of calibrations of n rows.

    The middle of Beta(k, n + 1 - k), for scores without ties; ties make for fewer alarms.

    Raises:
        CalibrationError: there are too few scores for this rate.
    """
    from scipy.special import betaincinv  # when something is calibrated, never when it is served

    k = rank(n, rate)
    low, high = betaincinv(k, n + 1 - k, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _close(n: int, rate: float, within: float, level: float) -> bool:
    from scipy.special import betainc

    # As if k were alpha (n + 1), whole or not: whatever n makes of the fraction, its spread counts.
    a, b = rate * (n + 1), (1 - rate) * (n + 1)
    above, below = betainc(a, b, [rate * (1 - within), min(1.0, rate * (1 + within))])
    return bool(below - above >= level)


def _check(rate: float) -> None:
    if not 0 < rate < 1:
        raise CalibrationError(f"budget: got a rate of {rate!r}, wanted more than 0 and below 1.")

"""Two tests for a change in what a signal does, over all signals of a stream at once.

Both look at a table of the last values, and at nothing else: what they find follows from the table,
so that a stream that is brought back finds the same. River has both too, and is the oracle of the
tests; `streams.md` says with figures why it does not run here.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

#: Values on each side of a cut, at least.
FEWEST: Final = 5
#: KSWIN: values that it looks at, and how many of them are the newest that are held against others.
KS_WINDOW: Final = 100
KS_NEWEST: Final = 30
#: KSWIN: a smaller distance of two distributions is none, however sure.
KS_LEAST: Final = 0.1


def cut(values: NDArray[np.float64], starts: NDArray[np.int64], delta: float) -> NDArray[np.int64]:
    """ADWIN: where the mean of each column changed, after its window's start.

    Every cut of the window into two is tried. Where the means of both parts differ by more than
    chance allows, the older part is to be dropped.

    Args:
        values: (n, c), oldest first, in units of about their spread.
        starts: (c,) first row of each column's window.
        delta: chance of a false cut, in (0, 1), for each column and moment.

    Returns:
        (c,) first row after the cut that is surest; -1 = there is none.

    Source: Bifet and Gavalda 2007, Learning from Time-Changing Data with Adaptive Windowing,
    sec. 3 (eq. 3.1); every cut (ADWIN0) rather than those of an exponential histogram (ADWIN2),
    for the window is short.
    """
    n = len(values)
    place = np.arange(n)[:, None]
    inside = place >= starts
    kept = np.where(inside, values, 0.0)
    sums = np.cumsum(kept, axis=0)
    total, width = sums[-1], np.maximum(n - starts, 1)
    variance = (np.where(inside, values - total / width, 0.0) ** 2).sum(axis=0) / width
    # Row i stands for the cut before row i + 1: the older part ends with row i.
    older = np.maximum(place + 1 - starts, 0)
    newer = width - older
    possible = (older >= FEWEST) & (newer >= FEWEST)
    with np.errstate(divide="ignore", invalid="ignore"):
        apart = np.abs(sums / older - (total - sums) / newer)
        excess = np.where(possible, apart - allowed(older, newer, width, variance, delta), -np.inf)
    best = excess.argmax(axis=0)
    found = np.take_along_axis(excess, best[None], axis=0)[0] > 0
    return np.where(found, best + 1, -1)


def allowed(older: Any, newer: Any, width: Any, variance: Any, delta: float) -> Any:
    """ADWIN: how far the means of two parts of a window may be apart by chance.

    Args:
        older: values in the older part; arrays or numbers, as the next three.
        newer: values in the newer part.
        width: values in both.
        variance: of both together.
        delta: see `cut`.

    Source: as `cut`; the bound of eq. 3.1.
    """
    inverse = 1.0 / older + 1.0 / newer
    sure = math.log(2.0) + np.log(np.log(np.maximum(width, 3))) - math.log(delta)
    return np.sqrt(2.0 * inverse * variance * sure) + 2.0 / 3.0 * inverse * sure


def other(values: NDArray[np.float64], alpha: float, seed: int) -> NDArray[np.bool_]:
    """KSWIN: whether the newest values of each column are of another distribution than before.

    The newest `KS_NEWEST` of the last `KS_WINDOW` rows are held against as many that are drawn of
    the rest, by the two-sample test of Kolmogorov and Smirnov.

    Args:
        values: (n, c), oldest first; with fewer than `KS_WINDOW` rows nothing is found.
        alpha: chance of a false alarm, in (0, 1), for each column and moment.
        seed: of the draw; the same draws the same.

    Source: Raab, Heusinger and Schleif 2020, Reactive Soft Prototype Computing for Concept Drift
    Streams, sec. 3.1.
    """
    if len(values) < KS_WINDOW:
        return np.zeros(values.shape[1], np.bool_)
    window = values[-KS_WINDOW:]
    drawn = np.random.default_rng(seed).choice(KS_WINDOW - KS_NEWEST, KS_NEWEST, replace=False)
    distance = distances(window[np.sort(drawn)], window[-KS_NEWEST:])
    least = max(critical(KS_NEWEST, alpha), KS_LEAST)
    return distance >= least


def distances(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """Largest distance of two empirical distribution functions, column by column.

    Args:
        a: (n, c).
        b: (n, c), as many.
    """
    n = len(a)
    both = np.concatenate([a, b])
    order = both.argsort(axis=0, kind="stable")
    ordered = np.take_along_axis(both, order, axis=0)
    steps = np.cumsum(np.where(order < n, 1, -1), axis=0)
    # Between equal values neither function has made its whole step.
    last = np.ones_like(ordered, np.bool_)
    last[:-1] = ordered[1:] != ordered[:-1]
    most: NDArray[np.float64] = np.abs(np.where(last, steps, 0)).max(axis=0) / n
    return most


@lru_cache(maxsize=64)
def critical(n: int, alpha: float) -> float:
    """Smallest distance of two samples of n that comes by chance with at most `alpha`."""
    return next((h / n for h in range(1, n + 1) if chance(n, h) <= alpha), math.inf)


def chance(n: int, steps: int) -> float:
    """Chance that two samples of n from one distribution are `steps` / n apart or more.

    Source: Gnedenko and Korolyuk 1951; exact for samples of one size without ties.
    """
    if steps <= 0:
        return 1.0
    whole = math.comb(2 * n, n)
    terms = ((-1) ** (j - 1) * math.comb(2 * n, n - j * steps) for j in range(1, n // steps + 1))
    return min(1.0, float(2 * sum(terms) / whole))

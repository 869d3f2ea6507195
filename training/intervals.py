"""How far a figure that was measured on some rows may be off."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

#: Of a normal distribution's middle 95 %.
_Z = 1.959963984540054


class Interval(NamedTuple):
    """Both ends of a 95 % interval, in the figure's own unit."""

    low: float
    high: float


def wilson(hits: int, rows: int) -> Interval:
    """The interval of a rate, `hits` of `rows`; all of [0, 1] where there are none.

    It stays within [0, 1] and does not shrink to nothing where every row is right.
    Source: Wilson 1927, Journal of the American Statistical Association 22(158).
    """
    if not rows:
        return Interval(0.0, 1.0)
    rate, share = hits / rows, _Z * _Z / rows
    middle = (rate + share / 2) / (1 + share)
    reach = _Z * float(np.sqrt(rate * (1 - rate) / rows + share / (4 * rows))) / (1 + share)
    return Interval(max(0.0, middle - reach), min(1.0, middle + reach))


def bootstrap(
    values: NDArray[np.float64],
    figure: Callable[[NDArray[np.float64]], float],
    seed: int = 0,
    draws: int = 1000,
) -> Interval:
    """The interval of a figure of rows, by drawing as many of them again and again.

    Args:
        values: (n, ...), a row each.
        figure: of any number of rows.
        seed: of the draws.
        draws: how often.

    Source: Efron 1979, Annals of Statistics 7(1); percentiles.
    """
    random = np.random.default_rng(seed)
    found = [figure(values[random.integers(len(values), size=len(values))]) for _ in range(draws)]
    low, high = np.percentile(found, [2.5, 97.5])
    return Interval(float(low), float(high))

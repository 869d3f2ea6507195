"""Long recordings to as many points as a picture has room for, without losing a peak."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

#: Stretches of time that a picture is cut into; each is drawn from its lowest to its highest value.
BINS = 1500
#: Rows in each from which on the mean is drawn, and the others as a band around it.
DENSE = 8


@dataclass(frozen=True, slots=True)
class Bins:
    """Stretches of time of equal length that have rows.

    Attributes:
        order: of the rows by time.
        first: place in that order of the first row of each.
        times: (k,) of the first row of each, microseconds since 1970.
        broken: (k,) whether there is a gap before it.
    """

    order: NDArray[np.int64]
    first: NDArray[np.int64]
    times: NDArray[np.int64]
    broken: NDArray[np.bool_]

    @classmethod
    def of(cls, times: NDArray[np.int64], gap: int, bins: int = BINS) -> Bins:
        """Cut up rows.

        Args:
            times: (n,) of the rows, n > 0, microseconds since 1970.
            gap: a longer step between rows is a gap, microseconds; 0 = none is.
            bins: most stretches.
        """
        order = np.argsort(times, kind="stable")
        ordered = times[order]
        width = max(1, -(-int(ordered[-1] - ordered[0] + 1) // bins))
        number = (ordered - ordered[0]) // width
        first = np.flatnonzero(np.diff(number, prepend=-1))
        last = np.append(first[1:], len(ordered)) - 1
        broken = np.zeros(len(first), np.bool_)
        if gap:
            broken[1:] = ordered[first[1:]] - ordered[last[:-1]] > gap
        return cls(order, first, ordered[first], broken)

    def highest(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """(k,) of values (n,); NaN where all are."""
        return np.fmax.reduceat(values[self.order], self.first)

    def lowest(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """(k,) of values (n,); NaN where all are."""
        return np.fmin.reduceat(values[self.order], self.first)

    @property
    def dense(self) -> bool:
        """Whether so many rows are in each that a line through all would be a black bar."""
        return len(self.order) > DENSE * len(self.first)

    def mean(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """(k,) of values (n,), NaN left out; NaN where all are."""
        ordered = values[self.order]
        there = np.isfinite(ordered)
        total = np.add.reduceat(np.where(there, ordered, 0.0), self.first)
        with np.errstate(invalid="ignore"):
            return total / np.add.reduceat(there.astype(np.float64), self.first)

    def line(self, values: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Times and values of a line through the lowest and highest of each, broken at gaps."""
        both = np.stack([self.lowest(values), self.highest(values)], axis=1)
        both[1::2] = both[1::2, ::-1]  # up, down, up: no step back to the lowest of the next
        return self._broken(np.repeat(self.times, 2), both.reshape(-1), 2)

    def middle(self, values: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Times and values of a line through the mean of each, broken at gaps."""
        return self._broken(self.times, self.mean(values), 1)

    def _broken(
        self, times: NDArray[np.int64], values: NDArray[np.float64], points: int
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        breaks = points * np.flatnonzero(self.broken)
        return np.insert(times, breaks, times[breaks]), np.insert(values, breaks, np.nan)

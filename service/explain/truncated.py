"""Values from within bins: truncated normals, as scipy draws them for upstream.

scipy's inverse is written out here with the very functions that it evaluates, and what depends
on a bin alone is computed once a bin: 6 arrays a column in place of about 60.

Most models take float32. Then a value is first read off a table of the normal's quantiles,
whose error is known; where both ends of the error round to the same float32, so does scipy's
value. Only what is left, about one in thirty, goes through scipy's functions.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special
from scipy.stats import truncnorm

from service.explain.background import Bins

#: The table spans these probabilities in so many cells, each a cubic.
_LOWEST, _HIGHEST, _CELLS = 0.02, 0.98, 8192
#: Its error, with what scipy's own rounding adds, in standard deviations; held by a test.
TABLE_ERROR = 2e-11
#: Rounding of a value of size 1 on its way, several times over.
_ROUNDING = 4e-15


class BinValues:
    """Draws values for the columns that were cut into bins.

    Args:
        bins: of each such column.
        values: most that are drawn for a column at a time. The arrays to compute them in are
            made once: asking for new ones took half the time.
        keep_tied: a bin that holds one value alone gives this value; upstream gives its
            distance from the bin's mean, which is 0.
    """

    def __init__(self, bins: Mapping[int, Bins], values: int, keep_tied: bool) -> None:
        used = {column: np.array(one.used.values, np.intp) for column, one in bins.items()}

        def each(name: str) -> NDArray[np.float64]:
            parts = [np.array(getattr(one, name))[used[at]] for at, one in bins.items()]
            return np.concatenate(parts) if parts else np.empty(0)

        # One entry a bin used, the columns one after the other.
        sizes = [len(one) for one in used.values()]
        self._places = {
            column: slice(stop - size, stop)
            for column, size, stop in zip(used, sizes, np.cumsum(sizes).tolist(), strict=True)
        }
        mins, maxs = each("mins"), each("maxs")
        self._means, self._stds = each("means"), each("stds")
        self._low = (mins - self._means) / self._stds
        self._high = (maxs - self._means) / self._stds
        self._wide = self._low != self._high
        self._tied = mins if keep_tied else self._low
        largest = np.maximum(np.maximum(np.abs(mins), np.abs(maxs)), np.abs(self._means))
        self._error = TABLE_ERROR * self._stds + _ROUNDING * largest
        self._below, self._mass = special.log_ndtr(self._low), _log_mass(self._low, self._high)
        # Where a bin starts in the table, and how many of its cells it spans.
        below, above = special.ndtr(self._low), special.ndtr(self._high)
        self._start = (below - _LOWEST) * (_CELLS / (_HIGHEST - _LOWEST))
        self._span = (above - below) * (_CELLS / (_HIGHEST - _LOWEST))
        self._floats = tuple(np.empty(values) for _ in range(3))
        self._cell, self._bin = np.empty(values, np.intp), np.empty(values, np.intp)
        self._flags = np.empty(values, bool), np.empty(values, bool)
        self._upper = np.empty(values, np.float32)
        self._left: list[tuple[NDArray[np.intp], int, NDArray[np.intp], NDArray[np.float64]]] = []

    def draw(
        self,
        column: int,
        at: NDArray[Any],
        state: np.random.RandomState,
        out: NDArray[np.floating[Any]],
    ) -> None:
        """Draw a value for each of these indices into the bins used by a column.

        Args:
            column: its index.
            at: (n,) indices.
            state: is asked for one number a value, but for none in a bin that holds one
                value alone.
            out: (n,) float64, written; or float32, of which `finish` writes the rest.
        """
        place = self._places[column]
        wide = self._wide[place]
        if wide.all():
            self._draw(column, at, np.arange(0), state, out)
            return
        rows = np.flatnonzero(wide[at])
        out[:] = self._tied[place][at]
        if len(rows):
            drawn = np.empty(len(rows), out.dtype)
            self._draw(column, at[rows], rows, state, drawn)
            out[rows] = drawn

    def finish(self, inputs: NDArray[np.floating[Any]]) -> None:
        """Write the float32 values that the table could not decide; row 0 is not counted."""
        if not self._left:
            return
        rows, columns, at, share = zip(*self._left, strict=True)
        self._left = []
        value = np.empty(sum(len(one) for one in rows))
        self._exact(np.concatenate(at), np.concatenate(share), value, owned=False)
        column = np.repeat(columns, [len(one) for one in rows])
        inputs[1:][np.concatenate(rows), column] = value

    def _draw(
        self,
        column: int,
        at: NDArray[Any],
        rows: NDArray[np.intp],
        state: np.random.RandomState,
        out: NDArray[np.floating[Any]],
    ) -> None:
        """`rows` are those of the values, none = all."""
        place = self._places[column]
        index = np.add(at, place.start, out=self._bin[: len(at)], dtype=np.intp)
        if (self._low[place] >= 0)[self._wide[place]].any():
            # A mean on its bin's lower edge: scipy then works from the other tail.
            out[:] = truncnorm.rvs(
                self._low[index],
                self._high[index],
                loc=self._means[index],
                scale=self._stds[index],
                random_state=state,
            )
            return
        share = state.random_sample(len(at))
        if out.dtype == np.float32:
            left = self._rounded(index, share, float(self._error[place].max()), out)
            self._left.append((rows[left] if len(rows) else left, column, index[left], share[left]))
        else:
            self._exact(index, share, out)

    def _exact(
        self,
        index: NDArray[np.intp],
        share: NDArray[np.float64],
        out: NDArray[np.floating[Any]],
        *,
        owned: bool = True,
    ) -> None:
        """What scipy computes: log Φ(x) = log(Φ(low) + share·mass), and back by its inverse."""
        size = len(index)
        arrays = [one[:size] for one in self._floats] if owned else np.empty((3, size))
        inside, value, top = arrays
        with np.errstate(divide="ignore", invalid="ignore"):
            np.log(share, out=inside)
            inside += np.take(self._mass, index, out=top, mode="clip")
            np.take(self._below, index, out=value, mode="clip")
            np.maximum(inside, value, out=top)
            np.minimum(inside, value, out=value)
            value -= top
            np.exp(value, out=value)
            np.log1p(value, out=value)
            value += top
        special.ndtri_exp(value, out=value)
        value *= np.take(self._stds, index, out=top, mode="clip")
        value += np.take(self._means, index, out=top, mode="clip")
        out[:] = value

    def _rounded(
        self,
        index: NDArray[np.intp],
        share: NDArray[np.float64],
        error: float,
        out: NDArray[np.floating[Any]],
    ) -> NDArray[np.intp]:
        """What scipy computes, rounded to float32; returns where the table cannot tell."""
        size = len(index)
        place, value, spare = (one[:size] for one in self._floats)
        cell, upper, (unsure, outside) = (
            self._cell[:size],
            self._upper[:size],
            (one[:size] for one in self._flags),
        )
        np.take(self._span, index, out=place, mode="clip")
        place *= share
        place += np.take(self._start, index, out=spare, mode="clip")
        np.floor(place, out=spare)
        np.copyto(cell, spare, casting="unsafe")
        place -= spare
        first, second, third, fourth = _table()
        # Outside the table the nearest cell's cubic stands, and is not used.
        np.take(fourth, cell, out=value, mode="clip")
        for coefficient in (third, second, first):
            value *= place
            value += np.take(coefficient, cell, out=spare, mode="clip")
        value *= np.take(self._stds, index, out=spare, mode="clip")
        value += np.take(self._means, index, out=spare, mode="clip")
        np.subtract(value, error, out=out, casting="same_kind")
        np.add(value, error, out=upper, casting="same_kind")
        np.not_equal(out, upper, out=unsure)
        # As unsigned numbers, cells below 0 are beyond the last one too.
        unsure |= np.greater_equal(cell.view(np.uintp), _CELLS, out=outside)
        return np.flatnonzero(unsure)


def _log_mass(low: NDArray[np.float64], high: NDArray[np.float64]) -> NDArray[np.float64]:
    """log(Φ(high) - Φ(low)) of each bin with low < 0, in the cases and functions of scipy's."""
    mass = special.log1p(-special.ndtr(low) - special.ndtr(-high))
    left = high <= 0
    if left.any():
        with np.errstate(divide="ignore", invalid="ignore"):
            pair = [special.log_ndtr(high[left]), special.log_ndtr(low[left]) + np.pi * 1j]
            mass[left] = np.real(special.logsumexp(pair, axis=0))
    return np.asarray(mass, np.float64)


@cache
def _table() -> tuple[NDArray[np.float64], ...]:
    """Cubics through four quantiles a cell: coefficients by rising power of the place in it."""
    thirds = _LOWEST + (_HIGHEST - _LOWEST) * np.arange(3 * _CELLS + 1) / (3 * _CELLS)
    quantiles = special.ndtri(thirds)
    corners = np.stack([quantiles[0:-1:3], quantiles[1::3], quantiles[2::3], quantiles[3::3]])
    places = np.vander(np.arange(4) / 3, increasing=True)
    return tuple(np.ascontiguousarray(row) for row in np.linalg.solve(places, corners))

"""Draw the neighbours of a table row exactly as upstream does, without upstream's waste.

The generator is asked for the same numbers in the same order. What depends on a bin alone is
computed once a bin; see also `truncated.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import pairwise_distances

from service.explain.background import Bins, Frequencies, TableBackground
from service.explain.scoring import Samples, refuse_size, state_digest
from service.explain.truncated import BinValues

#: Columns composed at a time: rows are then written a cache line or two at once.
_COLUMNS = 16
#: Up to so many values, counting comparisons beats a binary search.
_FEW = 16


@dataclass(frozen=True, slots=True)
class Neighbours:
    """`samples` are what the surrogate sees, `inputs` (N, D) what the model sees."""

    samples: Samples
    inputs: NDArray[np.floating[Any]]


def draw(
    row: NDArray[np.float64],
    background: TableBackground,
    discretizer: str,
    *,
    num_samples: int,
    seed: int,
    around_row: bool = False,
    keep_tied: bool = False,
    dtype: type[np.floating[Any]] = np.float64,
) -> Neighbours:
    """Draw the samples of `LimeTabularExplainer` for this seed.

    Args:
        row: (D,) finite, as the background has its columns.
        background: statistics of the training data.
        discretizer: one that the background has bins for, or "none".
        num_samples: N, the row itself included.
        seed: of a Mersenne Twister, 0 to 2³²-1.
        around_row: without a discretizer: normal around the row, not around the mean.
        keep_tied: a bin that holds one value alone gives the model this value; upstream
            gives it the value's distance from its mean, which is 0.
        dtype: of the inputs, float64 as upstream has them, or float32: the same rounded.

    Raises:
        InvalidParameter: N x D is too large.
    Source: lime 0.2.0.1, lime_tabular.py, `__data_inverse`, and discretize.py.
    """
    refuse_size("num_samples x columns", num_samples, len(row))
    state = np.random.RandomState(seed)
    if discretizer == "none":
        return _normal(row, background, state, num_samples, around_row, dtype)
    bins = next(bins for name, bins in background.bins.items() if name == discretizer)
    return _discretised(row, background, bins, state, num_samples, keep_tied, dtype)


def _normal(
    row: NDArray[np.float64],
    background: TableBackground,
    state: np.random.RandomState,
    num_samples: int,
    around_row: bool,
    dtype: type[np.floating[Any]],
) -> Neighbours:
    kinds = list(background.categorical)
    means, scales = np.array(background.means), np.array(background.scales)
    means[kinds], scales[kinds] = 0, 1
    data = state.normal(0, 1, num_samples * len(row)).reshape(num_samples, len(row))
    data *= scales
    data += row if around_row else means
    data[0] = row
    inputs = data.copy() if kinds else data
    for column in kinds:
        frequencies = background.categorical[column]
        values = np.array(frequencies.values)
        at = _pick(frequencies, state, num_samples)
        inputs[:, column] = values[at]
        data[:, column] = (values == row[column])[at]
        data[0, column] = 1
    inputs[0] = row
    scaled = data - means
    scaled /= scales
    distances = pairwise_distances(scaled, scaled[0].reshape(1, -1), metric="euclidean").ravel()
    return Neighbours(
        Samples(scaled, distances, state_digest(state)), inputs.astype(dtype, copy=False)
    )


def _discretised(
    row: NDArray[np.float64],
    background: TableBackground,
    bins: dict[int, Bins],
    state: np.random.RandomState,
    num_samples: int,
    keep_tied: bool,
    dtype: type[np.floating[Any]],
) -> Neighbours:
    width = len(row)
    same = np.empty((num_samples, width), np.uint8)
    block = np.empty((_COLUMNS, num_samples), np.uint8)
    picked: list[NDArray[Any]] = []
    for column in range(width):
        used = bins[column].used if column in bins else background.categorical[column]
        own = np.searchsorted(bins[column].edges, row[column]) if column in bins else row[column]
        at = _pick(used, state, num_samples)
        picked.append(at)
        np.take((np.array(used.values) == own).astype(np.uint8), at, out=block[column % _COLUMNS])
        _write(same, block, column, width)
    same[0] = 1
    inputs = np.empty((num_samples, width), dtype)
    values = np.empty((_COLUMNS, num_samples), dtype)
    drawer = BinValues(bins, num_samples, keep_tied)
    for column, at in enumerate(picked):
        out = values[column % _COLUMNS]
        if column in bins:
            drawer.draw(column, at[1:], state, out[1:])
        else:
            np.take(np.array(background.categorical[column].values, dtype), at, out=out)
        _write(inputs, values, column, width)
    drawer.finish(inputs)
    inputs[0] = row
    # Of rows of ones and zeros the squared distance from all ones is the number of zeros:
    # whole numbers, so this equals sklearn's euclidean distance bit for bit.
    distances = np.sqrt((width - same.sum(axis=1, dtype=np.int64)).astype(np.float64))
    return Neighbours(Samples(same, distances, state_digest(state)), inputs)


def _write(out: NDArray[Any], block: NDArray[Any], column: int, width: int) -> None:
    """Put a full block of columns in its place, and the last one."""
    held = column % _COLUMNS + 1
    if held == _COLUMNS or column == width - 1:
        out[:, column + 1 - held : column + 1] = block[:held].T


def _pick(used: Frequencies, state: np.random.RandomState, num_samples: int) -> NDArray[Any]:
    """Indices into the values: what `RandomState.choice` draws, and from the same numbers."""
    border = used.shares().cumsum()
    border /= border[-1]
    draws = state.random_sample(num_samples)
    if len(border) > _FEW:
        return border.searchsorted(draws, side="right")
    at = np.zeros(num_samples, np.uint8)
    above = np.empty(num_samples, bool)
    for value in border[:-1]:
        at += np.greater_equal(draws, value, out=above).view(np.uint8)
    return at

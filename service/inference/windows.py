"""Windows of a sequence: gaps between their values, and how long they are."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def interpolated(
    windows: NDArray[Any], lengths: NDArray[np.int64]
) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Fill gaps along each channel: linearly in time, and with the nearest value at the ends.

    Args:
        windows: (n, T, C) floats, NaN where there is a gap; what is padded does not count.
        lengths: (n,) steps of each that are real.

    Returns:
        The windows, themselves where nothing was to be filled, and how many values of each row
        were: (n,).

    Raises:
        ValueError: a channel has no value at all; the two arguments are its row and number.
    """
    gaps = np.isnan(windows)
    gaps &= (np.arange(windows.shape[1]) < lengths[:, np.newaxis])[..., np.newaxis]
    counts: NDArray[np.int64] = gaps.sum(axis=(1, 2), dtype=np.int64)
    if not counts.any():
        return windows, counts
    windows = windows.copy()
    for row in np.flatnonzero(counts):
        steps = np.arange(lengths[row])
        for channel in np.flatnonzero(gaps[row].any(axis=0)):
            values = windows[row, : lengths[row], channel]
            gap = gaps[row, : lengths[row], channel]
            if gap.all():
                raise ValueError(int(row), int(channel))
            values[gap] = np.interp(steps[gap], steps[~gap], values[~gap])
    return windows, counts


def padded(windows: list[NDArray[Any]]) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Windows (T_i, C) as one array (n, T, C), 0 behind each end, and their lengths (n,)."""
    lengths = np.array([len(one) for one in windows], np.int64)
    whole = np.zeros((len(windows), int(lengths.max()), windows[0].shape[1]), windows[0].dtype)
    for row, one in enumerate(windows):
        whole[row, : len(one)] = one
    return whole, lengths

"""Windows: stretches of sequences that a network learns from, and is asked about."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.inference.windows import padded
from training.data.sequences import BadSequences, Sequences


@dataclass(frozen=True, slots=True)
class Windows:
    """Windows of several sequences, padded with 0 to one extent.

    Attributes:
        values: (n, T, C) FP32.
        lengths: (n,) steps of each that are real, 1 to T.
        truth: of each step: (n, T) INT64, -1 behind the end; or (n, T, k) FP64, NaN there.
        owners: (n,) index of the sequence that each was cut from.
    """

    values: NDArray[np.float32]
    lengths: NDArray[np.int64]
    truth: NDArray[np.int64] | NDArray[np.float64]
    owners: NDArray[np.intp]

    @property
    def last(self) -> NDArray[np.int64] | NDArray[np.float64]:
        """What is true at the end of each window: (n,) or (n, k)."""
        return self.truth[np.arange(len(self.lengths)), self.lengths - 1]


@dataclass(frozen=True, slots=True)
class Cut:
    """How windows are cut.

    Attributes:
        longest: steps of a window, at most; 0 = whole sequences.
        shortest: steps of a window, at least.
        stride: steps between the ends of two windows of a sequence.
    """

    longest: int = 0
    shortest: int = 1
    stride: int = 1

    def ends(self, steps: int) -> list[int]:
        """Where windows of a sequence of so many steps end, the last one at its end."""
        if not self.longest:
            return [steps] if steps >= self.shortest else []
        return list(range(steps, self.shortest - 1, -self.stride))[::-1]

    def start(self, end: int) -> int:
        """Where the window that ends there begins."""
        return max(0, end - self.longest) if self.longest else 0


def windows_of(
    sequences: Sequences, some: NDArray[np.intp], cut: Cut, *, at_ends: bool = False
) -> Windows:
    """Cut windows from some of the sequences.

    A window whose end nobody knows the truth of is left out, unless its other steps teach
    something.

    Args:
        some: indices of the sequences.
        cut: how.
        at_ends: only the last window of each.

    Raises:
        BadSequences: there are none.
    """
    values, truths, owners = [], [], []
    for owner in some:
        series, truth = sequences.series[owner], sequences.truth[owner]
        ends = cut.ends(len(series))
        for end in ends[-1:] if at_ends else ends:
            if truth.dtype.kind == "f" and np.isnan(truth[end - 1]).any():
                continue
            start = cut.start(end)
            values.append(series[start:end])
            truths.append(truth[start:end])
            owners.append(owner)
    if not values:
        raise BadSequences(
            f"'{sequences.name}': none of {len(some)} sequences has a window of at least "
            f"{cut.shortest} steps whose end is known. Lower --shortest."
        )
    windows, lengths = padded(values)
    return Windows(windows, lengths, _padded_truth(truths), np.array(owners))


def _padded_truth(truths: list[NDArray[np.int64] | NDArray[np.float64]]) -> NDArray[np.float64]:
    steps = max(len(one) for one in truths)
    nothing = np.nan if truths[0].dtype.kind == "f" else -1
    whole = np.full((len(truths), steps, *truths[0].shape[1:]), nothing, truths[0].dtype)
    for row, one in enumerate(truths):
        whole[row, : len(one)] = one
    return whole


def by_length(windows: Windows, most: int) -> list[NDArray[np.intp]]:
    """Rows of each extent that occurs: those of one length together, `most` of them at most."""
    rows = []
    for length in np.unique(windows.lengths):
        rows.append(np.flatnonzero(windows.lengths == length)[:most])
    return rows

"""The newest rows of a stream in the order of their time, and the windows that end at them.

A window is causal: it ends at the row that it judges, and what comes later changes no verdict.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

Place = Literal["newest", "filled-in", "duplicate", "different", "late"]
#: Steps between rows that a stream's period is told from, where nobody says it.
FEWEST_STEPS: Final = 10
#: Rows beyond a window that are remembered: so far back a repeated row is known again.
SPARE: Final = 64


class Outcome(NamedTuple):
    """What was said of a row; it is said again when the row is repeated."""

    state: str
    score: float | None = None
    p_value: float | None = None
    alpha: float | None = None
    verdict: str | None = None


@dataclass(slots=True)
class Track:
    """Rows of one stream, as far back as they matter.

    Attributes:
        steps: T, rows of a window.
        period: microseconds between rows; 0 = not known yet.
        gap: a step longer than these microseconds is a gap; 0 = not known yet.
        times: of the rows, ascending, microseconds since 1970.
        values: (m, C) of the rows; NaN = not measured.
        outcomes: of the rows, each an `Outcome` as a plain tuple: the garbage collector leaves
            those alone, of which a process has hundreds of thousands.
        run: rows up to the newest without a gap between them.
    """

    steps: int
    period: int
    gap: int
    times: list[int]
    values: NDArray[np.float32]
    outcomes: list[tuple[Any, ...]]
    run: int

    @classmethod
    def empty(cls, steps: int, sensors: int, period: int, gap_periods: float) -> Track:
        """No rows yet."""
        values = np.empty((0, sensors), np.float32)
        return cls(steps, period, int(period * gap_periods), [], values, [], 0)

    def copy(self, room: int) -> Track:
        """Another with the same rows, and room for more; whoever adds to it changes not this."""
        m = len(self.times)
        values = np.empty((m + room, self.values.shape[1]), np.float32)
        values[:m] = self.values[:m]
        times, outcomes = self.times.copy(), self.outcomes.copy()
        return Track(self.steps, self.period, self.gap, times, values, outcomes, self.run)

    def propose(
        self, times: Sequence[int], values: NDArray[np.float32]
    ) -> list[tuple[int, NDArray[np.float32] | None]] | None:
        """The usual case at little cost: whole rows, each newer than all before it.

        Nothing changes: the rows stand behind the last one until `accept`.

        Returns:
            For each row the gap before it and its window, which is a view and good until then;
            None where it is not the usual case.
        """
        m, n, steps = len(self.times), len(times), self.steps
        if not m or not self.period or math.isnan(float(values.sum())):
            return None
        last, run, gap = self.times[-1], self.run, self.gap
        if run < steps or math.isnan(float(self.values[max(0, m - steps) : m].sum())):
            return None
        if m + n > len(self.values):
            self._make_room(n)
            m = len(self.times)
        self.values[m : m + n] = values
        placed: list[tuple[int, NDArray[np.float32] | None]] = []
        for at, time in enumerate(times, m + 1):
            step = time - last
            if step <= 0:
                return None
            run = run + 1 if step <= gap else 1
            window = self.values[at - steps : at] if run >= steps else None
            placed.append((step if step > gap else 0, window))
            last = time
        return placed

    def accept(self, times: Sequence[int], gaps: Sequence[int]) -> None:
        """The rows that were proposed are the stream's from now on."""
        for time, gap in zip(times, gaps, strict=True):
            self.times.append(time)
            self.run = 1 if gap else self.run + 1

    def _make_room(self, rows: int) -> None:
        """Forget old rows, and make room for new ones, some more than are wanted now."""
        keep = self.steps + SPARE
        self.trim()
        m = len(self.times)
        values = np.empty((m + max(rows, keep), self.values.shape[1]), np.float32)
        values[:m] = self.values[:m]
        self.values = values

    @property
    def newest(self) -> int | None:
        """Time of the newest row."""
        return self.times[-1] if self.times else None

    def place(self, time: int, row: NDArray[np.float32], lateness: int) -> Place:
        """Where a row belongs.

        Args:
            time: of the row.
            row: (C,).
            lateness: microseconds that it may be older than the newest row.

        Returns:
            `newest`; `filled-in`, an older one between others; `duplicate` of one that is here;
            `different` from the one of its time; `late`, older than what is waited for.
        """
        times = self.times
        if not times or time > times[-1]:
            return "newest"
        at = bisect_left(times, time)
        if at < len(times) - self.steps - SPARE:
            return "late"  # it may be here still, but not after a restart
        if times[at] == time:
            same = np.array_equal(self.values[at], row, equal_nan=True)
            return "duplicate" if same else "different"
        if at == 0 or time < times[-1] - lateness:
            return "late"
        return "filled-in"

    def append(self, time: int, row: NDArray[np.float32]) -> int:
        """A row that is newer than all: the microseconds of the gap before it, 0 if none."""
        m = len(self.times)
        step = time - self.times[-1] if m else 0
        gap = step if self.gap and step > self.gap else 0
        self.values[m] = row
        self.times.append(time)
        self.outcomes.append(tuple(Outcome("warming-up")))
        self.run = 1 if gap else self.run + 1
        return gap

    def insert(self, time: int, row: NDArray[np.float32]) -> None:
        """A row between others: windows from here on have it, verdicts before do not change."""
        at, m = bisect_left(self.times, time), len(self.times)
        self.values[at + 1 : m + 1] = self.values[at:m]
        self.values[at] = row
        self.times.insert(at, time)
        self.outcomes.insert(at, tuple(Outcome("filled-in")))
        self._count_run()

    def learn_period(self, gap_periods: float) -> bool:
        """Tell the period from the first rows, the median of their steps; whether it is known."""
        if self.period:
            return True
        if len(self.times) <= max(FEWEST_STEPS, self.steps - 1):
            return False
        self.period = max(1, int(np.median(np.diff(np.array(self.times, np.int64)))))
        self.gap = int(self.period * gap_periods)
        self._count_run()
        return True

    def window(self, fills: bool) -> NDArray[np.float32] | None:
        """(T, C), a copy of the newest rows, if they are without a gap.

        Args:
            fills: whether the model fills missing values itself; if not, a window with one is
                no window.
        """
        if self.run < self.steps:
            return None
        m = len(self.times)
        window = self.values[m - self.steps : m].copy()
        if np.isnan(window.sum()):
            empty = np.isnan(window).all(axis=0).any()
            if not fills or empty:
                return None
        return window

    def trim(self) -> None:
        """Forget what no window and no repeated row needs."""
        keep, m = self.steps + SPARE, len(self.times)
        if m > keep:
            del self.times[: m - keep]
            del self.outcomes[: m - keep]
            self.values = self.values[m - keep : m].copy()

    def _count_run(self) -> None:
        times, run = self.times, 1
        for at in range(len(times) - 1, 0, -1):
            if self.gap and times[at] - times[at - 1] > self.gap:
                break
            run += 1
        self.run = run

    def kept(self) -> tuple[bytes, bytes, list[list[Any]]]:
        """Times, values and outcomes of the rows that matter, for a snapshot."""
        m = len(self.times)
        first = max(0, m - self.steps - SPARE)
        values = np.ascontiguousarray(self.values[first:m], "<f4")
        times = np.array(self.times[first:], "<i8")
        return times.tobytes(), values.tobytes(), [list(one) for one in self.outcomes[first:]]

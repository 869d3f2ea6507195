"""The newest rows of a stream in the order of their time, and the windows that end at them.

A window is causal: it ends at the row that it judges, and what comes later changes no verdict.
"""

from __future__ import annotations

from bisect import bisect_left
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
        outcomes: of the rows.
        run: rows up to the newest without a gap between them.
    """

    steps: int
    period: int
    gap: int
    times: list[int]
    values: NDArray[np.float32]
    outcomes: list[Outcome]
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
        self.outcomes.append(Outcome("warming-up"))
        self.run = 1 if gap else self.run + 1
        return gap

    def insert(self, time: int, row: NDArray[np.float32]) -> None:
        """A row between others: windows from here on have it, verdicts before do not change."""
        at, m = bisect_left(self.times, time), len(self.times)
        self.values[at + 1 : m + 1] = self.values[at:m]
        self.values[at] = row
        self.times.insert(at, time)
        self.outcomes.insert(at, Outcome("filled-in"))
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
        keep = self.steps + SPARE
        m = len(self.times)
        if m > keep:
            del self.times[: m - keep]
            del self.outcomes[: m - keep]
        self.values = self.values[max(0, m - keep) : m].copy()

    def _count_run(self) -> None:
        times, run = self.times, 1
        for at in range(len(times) - 1, 0, -1):
            if self.gap and times[at] - times[at - 1] > self.gap:
                break
            run += 1
        self.run = run

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Times and values, for a snapshot."""
        return {
            "times": np.array(self.times, "<i8"),
            "values": np.ascontiguousarray(self.values[: len(self.times)], "<f4"),
        }

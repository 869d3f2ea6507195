"""Judging a stream whose scores drift: the level of the test moves so that the budget is kept.

A threshold that was right yesterday is wrong today when the machine wears, the light fades or the
season turns. Two things follow the drift here: p-values are taken from the last scores instead of
those of the calibration, and the level of the test is lowered after each alarm and raised a little
after each row without one, so that the rate of alarms comes back to the budget whatever happens.

Its limit. It cannot tell drift from a fault that lasts: both make scores high, and both are
absorbed. Therefore rows are `frozen` as long as an alarm is being dealt with: they are judged and
change nothing. And the level has a cap, so that a long quiet time does not save up alarms.

Source: Gibbs and Candes 2021, arXiv:2106.00170, sec. 2.1 (eq. 2); rolling calibration scores as in
sec. 2.2 there. The average rate of T rows is within (1 + gamma) / (T gamma) of the budget or,
where the cap held it, below.
"""

from __future__ import annotations

import math
import struct
from array import array
from bisect import bisect_left, insort
from typing import NamedTuple

import numpy as np

from service.anomaly.conformal import fewest_rows
from service.anomaly.reference import Scores
from service.calibration import Adaptive
from service.errors import CalibrationError

_MAGIC = b"glassline.adaptive/1"
#: rate, gamma, buffer, cap; alpha; rows, alarms; scores in the buffer
_HEAD = struct.Struct("<ddqdd qqq")


class Judgement(NamedTuple):
    """What was found of one row: its p-value, the level it was held against, and the verdict."""

    p_value: float
    alpha: float
    alarm: bool


class AdaptiveConformal:
    """Judges one score after the other, in the order in which the rows happened.

    Args:
        reference: (n,) ascending, of anomaly-free rows: what the first scores are held against.
        rate: of false alarms, in (0, 1).
        settings: see `Adaptive`.

    Raises:
        CalibrationError: the reference or the buffer is too small for the rate.
    """

    __slots__ = (
        "_alarms", "_alpha", "_by_age", "_cap", "_oldest", "_rate", "_rows", "_settings", "_sorted",
    )  # fmt: skip

    def __init__(self, reference: Scores, rate: float, settings: Adaptive | None = None) -> None:
        settings = settings or Adaptive()
        least = fewest_rows(rate)
        for what, n in (("reference scores", len(reference)), ("a buffer", settings.buffer)):
            if n < least:
                raise CalibrationError(
                    f"adaptive calibration: got {what} of {n} for a rate of {rate:g}, wanted at "
                    f"least {least}: with fewer no score is ever rare enough. Raise it, or the "
                    "budget."
                )
        self._rate, self._settings = rate, settings
        self._cap = min(1.0, settings.cap * rate)
        self._alpha = rate
        self._rows = self._alarms = 0
        kept = _spread(reference, settings.buffer)
        # Bare doubles: a process has thousands of these buffers, each score in them twice.
        self._sorted = array("d", kept)
        # The reference has no order in time; leaving in this one, it stays a fair sample of itself.
        self._by_age = array("d", kept[np.random.default_rng(0).permutation(len(kept))])
        #: place of the oldest score, once the buffer is full; the next newer ones follow, round it
        self._oldest = 0

    @property
    def rarest(self) -> float:
        """The smallest p-value that a score can have: below this level no row exceeds."""
        return 1 / (len(self._sorted) + 1)

    def judge(self, score: float, frozen: bool = False) -> Judgement:
        """Judge the next row: a binary search, and a few microseconds.

        Args:
            score: higher = more anomalous.
            frozen: an alarm is being dealt with: nothing is learnt from this row, and it does
                not count towards the realised rate.

        Returns:
            The p-value among the last scores, the level before this row, and whether the one is
            at most the other.

        Raises:
            CalibrationError: the score is no finite number.
        """
        if not math.isfinite(score):
            raise CalibrationError(
                f"score: got {score}, wanted a finite number. Leave the row out of the stream."
            )
        ordered = self._sorted
        place = bisect_left(ordered, score)
        p_value = (1 + len(ordered) - place) / (len(ordered) + 1)
        alpha = self._alpha
        alarm = p_value <= alpha
        if not frozen:
            self._rows += 1
            self._alarms += alarm
            self._alpha = min(self._cap, alpha + self._settings.gamma * (self._rate - alarm))
            self._remember(score)
        return Judgement(p_value, alpha, alarm)

    def learn(self, score: float) -> None:
        """Take a score into the buffer without judging it; no row is counted, no level moves."""
        self._remember(score)

    @property
    def rate(self) -> float:
        """Of false alarms, that is asked for."""
        return self._rate

    def retuned(self, rate: float, settings: Adaptive) -> AdaptiveConformal:
        """The same scores, held against another rate; rows and alarms are counted anew.

        Args:
            rate: of false alarms, in (0, 1).
            settings: with a buffer no smaller than this one's.

        Raises:
            CalibrationError: there are too few scores for the rate.
        """
        judge = type(self)(np.array(self._sorted), rate, settings)
        judge._by_age = array("d", self._oldest_first())
        judge._alpha = min(judge._cap, self._alpha * (rate / self._rate))
        return judge

    def _oldest_first(self) -> Scores:
        scores: Scores = np.roll(np.array(self._by_age, "<f8"), -self._oldest)
        return scores

    @property
    def buffer(self) -> int:
        """Scores that are remembered, at most."""
        return self._settings.buffer

    def _remember(self, score: float) -> None:
        ordered, by_age, at = self._sorted, self._by_age, self._oldest
        if len(by_age) < self._settings.buffer:
            by_age.append(score)
        else:
            del ordered[bisect_left(ordered, by_age[at])]
            by_age[at] = score
            self._oldest = (at + 1) % len(by_age)
        insort(ordered, score)

    @property
    def realised(self) -> float:
        """Share of the rows, frozen ones left out, that were called anomalies; 0 before the first.

        What is to be held against the budget, as long as none of them was a real one.
        """
        return self._alarms / self._rows if self._rows else 0.0

    @property
    def rows(self) -> int:
        """Rows that were judged, frozen ones left out."""
        return self._rows

    def state(self) -> bytes:
        """All of it, bit for bit; see `restore`."""
        one = self._settings
        head = _HEAD.pack(
            self._rate, one.gamma, one.buffer, one.cap, self._alpha,
            self._rows, self._alarms, len(self._by_age),
        )  # fmt: skip
        return _MAGIC + head + self._oldest_first().tobytes()

    @classmethod
    def restore(cls, state: bytes) -> AdaptiveConformal:
        """The judge that `state` was taken of: it judges the same scores the same, bit for bit.

        Raises:
            CalibrationError: these bytes are no such state.
        """
        start = len(_MAGIC) + _HEAD.size
        if not state.startswith(_MAGIC) or len(state) < start:
            raise CalibrationError(
                "state of an adaptive calibration: not what was saved by this version. Begin with "
                "a new one."
            )
        rate, gamma, buffer, cap, alpha, rows, alarms, count = _HEAD.unpack(
            state[len(_MAGIC) : start]
        )
        scores = np.frombuffer(state[start:], "<f8") if not len(state[start:]) % 8 else np.empty(0)
        sound = len(scores) == count > 0 and np.isfinite(scores).all() and math.isfinite(alpha)
        if not sound or not 0 <= alarms <= rows or count > buffer:
            raise CalibrationError(
                "state of an adaptive calibration: damaged. Begin with a new one."
            )
        judge = cls(np.sort(scores), rate, Adaptive(gamma=gamma, buffer=buffer, cap=cap))
        judge._alpha, judge._rows, judge._alarms = alpha, rows, alarms
        judge._by_age = array("d", scores)
        return judge


def _spread(reference: Scores, most: int) -> Scores:
    """At most so many scores, evenly spread over the ranks of all."""
    if len(reference) <= most:
        return reference
    places = (np.arange(most) + 0.5) * (len(reference) / most)
    chosen: Scores = reference[places.astype(np.intp)]
    return chosen

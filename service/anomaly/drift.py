"""Drift of one stream: sensors and scores that slowly do something else than they did.

A drift is no fault: nobody is called. It says that the model was made for another process than the
one that runs now, with the evidence, so that somebody recalibrates or trains again.

Rows are averaged over blocks, for a sensor's next value hangs on its last and tests of change want
values that do not. Rows of an alarm are left out by the caller: a fault is not a drift. Rows, and
nothing else, decide: the same rows in any number of calls give the same bits.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

import numpy as np
import orjson
from numpy.typing import NDArray

from service.anomaly.change import FEWEST, cut, other
from service.anomaly.drift_advice import FAR, SCORE, Drifted
from service.anomaly.usual import sound
from service.errors import CorruptStream

#: Blocks that are remembered; what the tests and the plot look at.
REMEMBERED: Final = 240
#: Blocks that a stream's own reference is made of, where the model brings none.
LEARNT: Final = 30
#: Newest blocks that say where a signal is now.
NOW: Final = 5
#: Chance of a false change, a block, over all signals together.
DELTA: Final = 0.002
_MAGIC: Final = b"glassline.drift/1\n"
_SIZES: Final = struct.Struct("<IIIII")
Change = Literal["begun", "ended"]


@dataclass(frozen=True, slots=True)
class DriftEvent:
    """A drift begins or is over.

    Attributes:
        change: which.
        time: end of the block that showed it, microseconds since 1970.
        signals: those that have drifted, the farthest first.
    """

    change: Change
    time: int
    signals: tuple[Drifted, ...]


@dataclass(slots=True)
class Drift:
    """What is known of one stream; see `begin`."""

    names: tuple[str, ...]
    block: int
    spreads: float
    #: (2, c): reference and its spread; all NaN while it is being learnt
    reference: NDArray[np.float64]
    #: rows of the block that is being filled
    pending: NDArray[np.float64]
    #: (REMEMBERED, c) means of blocks and (REMEMBERED,) when each ended, the newest last; whole
    #: from the beginning, so that a stream never needs more memory than in its first hour
    all_means: NDArray[np.float64]
    all_ends: NDArray[np.int64]
    #: (2, c) sums of squares and values while the reference is learnt
    sums: NDArray[np.float64]
    filled: int = 0
    blocks: int = 0
    #: by signal, first block after its last change, and what found it
    since: list[int] = field(default_factory=list)
    found_by: list[str] = field(default_factory=list)
    drifting: bool = False
    began: int = 0

    @classmethod
    def begin(
        cls,
        sensors: Sequence[str],
        block: int = 60,
        spreads: float = 1.0,
        reference: NDArray[np.float64] | None = None,
    ) -> Drift:
        """A stream without a row.

        Args:
            sensors: names of the C sensors.
            block: rows that are averaged.
            spreads: so far from its reference must a signal be to have drifted.
            reference: (2, C + 1) mean and spread of each sensor and of the score in training;
                None where nobody knows: then the first `LEARNT` blocks are the reference.
        """
        width = len(sensors) + 1
        given = np.full((2, width), np.nan) if reference is None else reference.astype(np.float64)
        return cls(
            (*sensors, SCORE), block, spreads, given, np.zeros((block, width)),
            *_nothing(width), np.zeros((2, width)),
            since=[0] * width, found_by=[""] * width,
        )  # fmt: skip

    @property
    def learnt(self) -> bool:
        """Whether there is a reference."""
        return not bool(np.isnan(self.reference).any())

    @property
    def means(self) -> NDArray[np.float64]:
        """(m, c) means of the last m blocks; good until the next row."""
        return self.all_means[REMEMBERED - min(self.blocks, REMEMBERED) :]

    @property
    def ends(self) -> NDArray[np.int64]:
        """(m,) when each of them ended, microseconds since 1970; good until the next row."""
        return self.all_ends[REMEMBERED - min(self.blocks, REMEMBERED) :]

    def take(
        self, times: Sequence[int], values: NDArray[np.float32], scores: Sequence[float]
    ) -> list[DriftEvent]:
        """Rows that are no part of an alarm, in the order of time.

        Args:
            times: (n,) microseconds since 1970.
            values: (n, C); NaN = not measured.
            scores: (n,).

        Returns:
            What began or ended by them.
        """
        rows = zip(times, values, scores, strict=True)
        return [event for row in rows if (event := self.add(*row))]

    def add(self, time: int, values: NDArray[np.float32], score: float) -> DriftEvent | None:
        """One row; see `take`.

        Args:
            time: microseconds since 1970.
            values: (C,); NaN = not measured.
            score: of it.
        """
        row = self.pending[self.filled]
        row[:-1] = values
        row[-1] = score
        self.filled += 1
        if self.filled < self.block:
            return None
        self.filled = 0
        return self._close_block(time)

    def _close_block(self, time: int) -> DriftEvent | None:
        measured = ~np.isnan(self.pending)
        count = np.maximum(measured.sum(axis=0), 1)
        kept = np.where(measured, self.pending, 0.0)
        means = kept.sum(axis=0) / count
        # A sensor that was silent for a whole block stays where it was.
        silent = ~measured.any(axis=0)
        means[silent] = self.means[-1, silent] if len(self.means) else 0.0
        if not self.learnt:
            self.sums += means, (kept**2).sum(axis=0) / count
        self.blocks += 1
        self.all_means[:-1], self.all_means[-1] = self.all_means[1:], means
        self.all_ends[:-1], self.all_ends[-1] = self.all_ends[1:], time
        if self.learnt:
            return self._look(time)
        if self.blocks >= LEARNT:
            mean = self.sums[0] / self.blocks
            spread = np.sqrt(np.maximum(self.sums[1] / self.blocks - mean**2, 0.0))
            self.reference = np.stack([mean, sound(spread, mean)])
        return None

    def _look(self, time: int) -> DriftEvent | None:
        """What the newest block shows."""
        values = self._scaled()
        first = self.blocks - len(values)
        starts = np.maximum(np.array(self.since, np.int64) - first, 0)
        changed = cut(values, starts, DELTA / len(self.names))
        another = other(values, DELTA / len(self.names), self.blocks)
        for at in range(len(self.names)):
            if changed[at] >= 0:
                self.since[at], self.found_by[at] = first + int(changed[at]), "adwin"
            elif another[at] and self.since[at] < self.blocks - 100:
                self.since[at], self.found_by[at] = self.blocks - 30, "kswin"
        return self._settled(time, values)

    def _settled(self, time: int, values: NDArray[np.float64]) -> DriftEvent | None:
        """Whether a drift begins or ends with this block."""
        if not self.drifting:
            signals = self.signals()
            if not signals:
                return None
            self.drifting, self.began = True, min(one.since for one in signals)
            return DriftEvent("begun", time, signals)
        if len(values) >= 2 * NOW and (np.abs(_now(values, 2 * NOW)) < self.spreads / 2).all():
            self.drifting, self.began = False, 0
            return DriftEvent("ended", time, ())
        return None

    def signals(self) -> tuple[Drifted, ...]:
        """Signals that are elsewhere than in their reference, the farthest first."""
        if not self.learnt or len(self.means) < FEWEST:
            return ()
        values = self._scaled()
        first = self.blocks - len(values)
        here = _now(values, NOW)
        found = []
        for at, name in enumerate(self.names):
            far = abs(float(here[at]))
            if far < self.spreads or not (self.found_by[at] or far >= FAR):
                continue
            since = int(self.ends[min(max(self.since[at] - first, 0), len(self.ends) - 1)])
            spreads = round(float(here[at]), 3)
            found.append(Drifted(name, spreads, since, self.found_by[at] or "far"))
        return tuple(sorted(found, key=lambda one: -abs(one.spreads)))

    def _scaled(self) -> NDArray[np.float64]:
        """The remembered means in spreads from the reference."""
        scaled: NDArray[np.float64] = (self.means - self.reference[0]) / self.reference[1]
        return scaled

    def history(self) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """For a plot: (m,) ends of blocks, and (m, c) spreads from the reference."""
        ends = self.ends.copy()
        return ends, self._scaled() if self.learnt else np.full_like(self.means, np.nan)

    def rebase(self) -> None:
        """What is now is right: the reference is learnt anew from here on."""
        self.reference[:] = np.nan
        self.sums[:] = 0.0
        self.blocks, self.filled, self.drifting, self.began = 0, 0, False, 0
        self.since, self.found_by = [0] * len(self.names), [""] * len(self.names)

    def state(self) -> bytes:
        """All of it, bit for bit; see `restore`."""
        head = orjson.dumps(
            [self.names, self.block, self.spreads, self.filled, self.blocks, self.since,
             self.found_by, self.drifting, self.began]
        )  # fmt: skip
        parts = [
            head, self.reference.tobytes() + self.sums.tobytes(),
            self.pending[: self.filled].tobytes(), self.means.tobytes(), self.ends.tobytes(),
        ]  # fmt: skip
        rest = _SIZES.pack(*map(len, parts)) + b"".join(parts)
        return _MAGIC + hashlib.sha256(rest).digest() + rest

    @classmethod
    def restore(cls, state: bytes) -> Drift:
        """What `state` was taken of.

        Raises:
            CorruptStream: these bytes are no such state.
        """
        try:
            head, fixed, pending, means, ends = _parts(state)
            names, block, spreads, filled, blocks, since, found_by, drifting, began = orjson.loads(
                head
            )
            width = len(names)
            both = np.frombuffer(fixed, "<f8").reshape(2, 2, width).copy()
            room = np.zeros((block, width))
            room[:filled] = np.frombuffer(pending, "<f8").reshape(filled, width)
            last = min(blocks, REMEMBERED)
            all_means, all_ends = _nothing(width)
            all_means[REMEMBERED - last :] = np.frombuffer(means, "<f8").reshape(last, width)
            all_ends[REMEMBERED - last :] = np.frombuffer(ends, "<i8").reshape(last)
            return cls(
                tuple(names), block, spreads, both[0], room, all_means, all_ends, both[1],
                filled, blocks, since, found_by, drifting, began,
            )  # fmt: skip
        except (ValueError, struct.error) as error:
            raise CorruptStream(
                f"state of a stream's drift: not what this version saved, or damaged ({error})."
            ) from None


def _nothing(width: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Means and ends of no block."""
    return np.full((REMEMBERED, width), np.nan), np.full(REMEMBERED, -1, np.int64)


def _parts(state: bytes) -> list[bytes]:
    start = len(_MAGIC) + 32
    rest = state[start:]
    if not state.startswith(_MAGIC) or hashlib.sha256(rest).digest() != state[start - 32 : start]:
        raise ValueError("its digest is another")
    at = _SIZES.size
    parts = []
    for size in _SIZES.unpack_from(rest):
        parts.append(rest[at : at + size])
        at += size
    return parts


def _now(values: NDArray[np.float64], blocks: int) -> NDArray[np.float64]:
    middle: NDArray[np.float64] = np.median(values[-blocks:], axis=0)
    return middle

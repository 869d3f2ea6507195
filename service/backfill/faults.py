"""Known faults beside the alarms of a replay: which were found, how late, and what was no fault."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from service.anomaly.times import SECOND
from service.backfill.recording import Recording

Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Found:
    """How a run did on known faults.

    Attributes:
        faults: how many are known.
        alarmed: those during which an alarm was raised, or was on already.
        delays: seconds from the first row of each of these to its alarm.
        beside: alarms that were raised outside of all faults.
    """

    faults: int
    alarmed: int
    delays: tuple[float, ...]
    beside: int


def known(recording: Recording) -> list[Span]:
    """First and last moment of each known fault, microseconds since 1970."""
    if recording.truth is None:
        return []
    edges = np.flatnonzero(np.diff(recording.truth, prepend=False, append=False))
    return [
        (recording.times[begin], recording.times[end - 1])
        for begin, end in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True)
    ]


def found(faults: Sequence[Span], alarms: Sequence[Span]) -> Found:
    """Hold alarms, each from when it was raised to when it ended, against known faults."""
    delays = []
    for begin, end in faults:
        hits = [max(0, raised - begin) for raised, cleared in alarms if raised <= end
                and cleared >= begin]  # fmt: skip
        if hits:
            delays.append(min(hits) / SECOND)
    beside = sum(not any(begin <= raised <= end for begin, end in faults) for raised, _ in alarms)
    return Found(len(faults), len(delays), tuple(delays), beside)

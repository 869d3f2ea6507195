"""What a stream is of, what it must know of its model, and what it counts."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from service.calibration import Adaptive

#: Sensors that are named as contributors of an alarm.
NAMED: Final = 3


class StreamKey(NamedTuple):
    """What a stream's state belongs to: another version of the model begins anew."""

    model: str
    version: str
    stream: str

    @property
    def line(self) -> str:
        """What stands before the first dot of the stream's name."""
        return self.stream.partition(".")[0]

    def alarm_id(self, number: int) -> str:
        """Name of an alarm of this stream: the same input gives the same."""
        return f"{self.stream}:{self.model}:{self.version}:{number}"


@dataclass(frozen=True, slots=True)
class Subject:
    """What a stream must know of its model.

    Attributes:
        sensors: names of the C columns of a window.
        steps: T, rows of a window.
        fills: whether the model fills missing values itself.
        reference: (n,) ascending scores of anomaly-free rows, float64; may be empty.
        adaptive: settings of the adaptation.
        period_s: seconds between rows as the model's budget has them, or None.
    """

    sensors: tuple[str, ...]
    steps: int
    fills: bool = False
    reference: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    adaptive: Adaptive = field(default_factory=Adaptive)
    period_s: float | None = None
    #: (2, C + 1) mean and spread of each sensor and of the score on rows without an anomaly
    usual: NDArray[np.float64] | None = None

    def contributors(self, share: NDArray[np.float32]) -> tuple[tuple[str, float], ...]:
        """Sensors that contributed most to an error, and their shares of it, the largest first.

        Args:
            share: (C,) of each sensor, any unit.
        """
        total = float(share.sum())
        if not total > 0:
            return ()
        first = np.argsort(-share, kind="stable")[:NAMED].tolist()
        return tuple((self.sensors[at], round(float(share[at]) / total, 4)) for at in first)


@dataclass(slots=True)
class Counts:
    """What has come, since the stream began."""

    rows: int = 0
    duplicates: int = 0
    late: int = 0
    filled_in: int = 0
    gaps: int = 0
    scored: int = 0
    live_alarms: int = 0
    #: microseconds of rows that were judged, gaps left out
    observed: int = 0

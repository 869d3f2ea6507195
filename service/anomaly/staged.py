"""Rows between their placing and their judging, and what is told of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from service.anomaly.times import SECOND, rfc3339
from service.anomaly.track import Outcome, Track


class Row(NamedTuple):
    """A row that was placed."""

    time: int
    #: index of its window among the staged ones, -1 = it has none
    window: int
    gap: int
    #: sensors without a value, as a bit each
    missing: int
    #: what is said of a row that is not judged
    said: Outcome | None


@dataclass(slots=True)
class Staged:
    """Rows that were placed and are not judged yet.

    `windows` are those to be scored, in this order.
    """

    times: Sequence[int]
    values: NDArray[np.float32]
    historical: bool
    #: as it will be; None where the rows stand behind the last one, see `Track.propose`
    track: Track | None
    rows: list[Row]
    windows: list[NDArray[np.float32]]
    duplicates: int = 0
    late: int = 0


def answer_to(row: Row, said: Outcome, repeated: bool, sensors: tuple[str, ...]) -> dict[str, Any]:
    """What a caller is told of a row.

    Args:
        row: as it was placed.
        said: of it.
        repeated: whether it had come before.
        sensors: names of the columns.
    """
    answer: dict[str, Any] = {
        "time": rfc3339(row.time),
        "score": said.score,
        "p_value": said.p_value,
        "alpha": said.alpha,
        "verdict": said.verdict,
        "state": said.state,
    }
    if row.missing:
        answer["missing"] = [n for at, n in enumerate(sensors) if row.missing >> at & 1]
    if row.gap:
        answer["gap_s"] = row.gap / SECOND
    if repeated:
        answer["duplicate"] = True
    return answer

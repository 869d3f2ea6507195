"""What a drift means: which signals, how far, since when, and what to do about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from service.anomaly.times import rfc3339

#: Spreads from the reference at which no change is needed to call it drift.
FAR: Final = 4.0
SCORE: Final = "score"


@dataclass(frozen=True, slots=True)
class Drifted:
    """One signal that has drifted.

    Attributes:
        name: of the sensor, or `score`.
        spreads: how far it is from its reference now, in spreads of the reference.
        since: microseconds since 1970.
        found_by: adwin (its mean changed), kswin (its distribution), far (it is just elsewhere).
    """

    name: str
    spreads: float
    since: int
    found_by: str


def evidence_of(signals: Sequence[Drifted], sensors: int) -> dict[str, Any]:
    """Signals that have drifted and what to do, as JSON values.

    Args:
        signals: the farthest first.
        sensors: how many there are.
    """
    return {
        "signals": [
            {"signal": one.name, "spreads": one.spreads, "since": rfc3339(one.since),
             "found_by": one.found_by}
            for one in signals
        ],
        **advice(signals, sensors),
    }  # fmt: skip


def advice(signals: Sequence[Drifted], sensors: int) -> dict[str, Any]:
    """What to do about it, and why.

    Args:
        signals: that have drifted.
        sensors: how many there are.
    """
    inputs = [one for one in signals if one.name != SCORE]
    scores = [one for one in signals if one.name == SCORE]
    if not signals:
        return {"advice": "nothing", "because": "no signal is elsewhere than in its reference"}
    if not inputs:
        return {
            "advice": "recalibrate",
            "because": "scores have drifted and no sensor has: the level is wrong, not the process",
        }
    farthest = abs(inputs[0].spreads)
    if len(inputs) == 1 and sensors > 2 and not scores:
        return {
            "advice": "look at the sensor",
            "because": f"{inputs[0].name} alone is {farthest:g} spreads from its reference, and "
            "the scores are as ever: it may be the sensor, not the process",
        }
    if farthest >= FAR or 2 * len(inputs) >= sensors:
        return {
            "advice": "retrain",
            "because": f"{len(inputs)} of {sensors} sensors have drifted, {inputs[0].name} by "
            f"{farthest:g} spreads: the model has not seen such a process",
        }
    return {
        "advice": "recalibrate",
        "because": f"{len(inputs)} of {sensors} sensors have drifted by at most {farthest:g} "
        "spreads: the model still fits, its level may not",
    }

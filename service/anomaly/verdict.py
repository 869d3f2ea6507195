"""A calibration put together from anomaly-free scores, and what it says of later ones."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from service.anomaly import conformal, evt
from service.anomaly.reference import Scores
from service.calibration import Adaptive, Calibration, EventBudget, RateBudget

Method = Literal["conformal", "evt"]


def calibrated(
    reference: Scores,
    budget: RateBudget | EventBudget,
    method: Method = "conformal",
    adaptive: Adaptive | None = None,
    recalibrates: str | None = None,
) -> Calibration:
    """When a score is an anomaly.

    Args:
        reference: (n,) ascending, of anomaly-free rows that the model was not trained on; see
            `reference.reference`.
        budget: of false alarms.
        method: see `Calibration`.
        adaptive: how the judge of a stream follows drift; None = by the defaults.
        recalibrates: `name@version` whose graph gave the scores, where it stays as it is.

    Raises:
        CalibrationError: there are too few scores for the budget; the message says how many it
            takes.
    """
    rate = budget.rate
    realised, tail = None, None
    if method == "evt":
        tail = evt.fit(reference)
        limit = evt.threshold(tail, rate)
    else:
        limit = conformal.threshold(reference, rate)
        realised = conformal.realised(len(reference), rate)
    return Calibration(
        method=method,
        budget=budget,
        n=len(reference),
        # As exact as scores are, so that whoever compares the two finds what was found here.
        threshold=float(np.float32(limit)),
        realised=realised,
        tail=tail,
        adaptive=adaptive,
        recalibrates=recalibrates,
    )


def p_values(
    calibration: Calibration, reference: Scores, scores: NDArray[Any]
) -> NDArray[np.float64]:
    """How rare scores are among those of anomaly-free rows, in [0, 1], of the shape of `scores`."""
    if calibration.tail is None:
        return conformal.p_values(reference, scores)
    return evt.tail_p_values(reference, calibration.tail, scores)

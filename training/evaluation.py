"""What is known of a released model from the rows it was tested on: figures before pictures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.candidate import Candidate
from training.intervals import Interval, bootstrap, wilson
from training.scoring import Answered
from training.temperature import before

#: Equally wide bins of the calibration curve.
BINS = 10


@dataclass(frozen=True, slots=True)
class OfClass:
    """One class: how many rows are of it, and how it was found.

    Attributes:
        precision: of those that were called so, the share that is so; None where none was.
        recall: of those that are so, the share that was called so; None where none is.
        taken_for: the class that it was taken for most often, and how often; None = never.
    """

    label: str
    rows: int
    precision: float | None
    precision_interval: Interval
    recall: float | None
    recall_interval: Interval
    taken_for: tuple[str, int] | None


@dataclass(frozen=True, slots=True)
class Reliability:
    """How often answers of a confidence are right, bin by bin, equally wide; empty ones left out.

    Attributes:
        confidence, accuracy: (b,) means in each bin.
        rows: (b,) in each bin.
        error: mean distance of confidence and accuracy, weighted by rows (ECE), 0 to 1.
    """

    confidence: NDArray[np.float64]
    accuracy: NDArray[np.float64]
    rows: NDArray[np.intp]
    error: float


@dataclass(frozen=True, slots=True)
class Classification:
    """A classifier on its test rows.

    Attributes:
        confusion: (classes, classes) rows; what is true downwards, what was answered across.
        reliability: as released; `unscaled`: without the temperature, None where there is none.
    """

    accuracy: float
    interval: Interval
    rows: int
    classes: tuple[OfClass, ...]
    confusion: NDArray[np.intp]
    reliability: Reliability
    unscaled: Reliability | None
    temperature: float | None


@dataclass(frozen=True, slots=True)
class Regression:
    """A regression on its test rows, in the unit of its values.

    Attributes:
        truth, values: (n, k).
        targets: names of the k values.
    """

    mae: float
    mae_interval: Interval
    rmse: float
    rmse_interval: Interval
    r2: float
    rows: int
    truth: NDArray[np.float64]
    values: NDArray[np.float64]
    targets: tuple[str, ...]
    unit: str


def classification(
    candidate: Candidate, answers: Answered, temperature: float | None
) -> Classification:
    """Figures of a classifier.

    Args:
        candidate: whose labels they are.
        answers: to its test rows; the first output is probabilities (n, classes).
        temperature: that is inside its graph; None = none is.
    """
    said = answers.answers[candidate.outputs[0].name]
    truth, called = answers.truth.astype(np.intp), said.argmax(axis=1)
    confusion = np.zeros((len(candidate.labels),) * 2, np.intp)
    np.add.at(confusion, (truth, called), 1)
    right = int(np.trace(confusion))
    return Classification(
        accuracy=right / len(truth),
        interval=wilson(right, len(truth)),
        rows=len(truth),
        classes=tuple(_of_class(confusion, at, candidate.labels) for at in _present(confusion)),
        confusion=confusion,
        reliability=reliability(said, truth),
        unscaled=None if temperature is None else reliability(before(said, temperature), truth),
        temperature=temperature,
    )


def regression(candidate: Candidate, answers: Answered) -> Regression:
    """Figures of a regression; intervals by drawing rows again, all values of a row together."""
    first = candidate.outputs[0]
    values = answers.answers[first.name].astype(np.float64)
    truth = answers.truth.astype(np.float64)
    error = values - truth

    def mae(rows: NDArray[np.float64]) -> float:
        return float(np.abs(rows).mean())

    def rmse(rows: NDArray[np.float64]) -> float:
        return float(np.sqrt(np.square(rows).mean()))

    count = truth.shape[1]
    return Regression(
        mae=mae(error),
        mae_interval=bootstrap(error, mae),
        rmse=rmse(error),
        rmse_interval=bootstrap(error, rmse),
        r2=answers.metrics["r2"],
        rows=len(truth),
        truth=truth,
        values=values,
        targets=first.features or tuple(f"{first.name} {at}" for at in range(count)),
        unit=first.unit or "",
    )


def reliability(probabilities: NDArray[Any], truth: NDArray[Any]) -> Reliability:
    """How often answers of a confidence are right.

    Source: Naeini, Cooper and Hauskrecht 2015, AAAI, for the error.

    Args:
        probabilities: (n, classes), in [0, 1].
        truth: (n,) indices of classes.
    """
    sure = probabilities.max(axis=1).astype(np.float64)
    right = probabilities.argmax(axis=1) == truth
    which = np.minimum((sure * BINS).astype(np.intp), BINS - 1)
    rows = np.bincount(which, minlength=BINS)
    filled = rows > 0
    rows = rows[filled]
    confidence = np.bincount(which, sure, BINS)[filled] / rows
    accuracy = np.bincount(which, right.astype(np.float64), BINS)[filled] / rows
    error = float((np.abs(confidence - accuracy) * rows).sum() / rows.sum())
    return Reliability(confidence, accuracy, rows, error)


def calibration_metrics(
    candidate: Candidate, answers: Answered, temperature: float | None
) -> dict[str, float]:
    """What a temperature adds to the metrics of a manifest; nothing where there is none."""
    if temperature is None:
        return {}
    found = reliability(answers.answers[candidate.outputs[0].name], answers.truth)
    return {"temperature": temperature, "calibration_error": found.error}


def _present(confusion: NDArray[np.intp]) -> list[int]:
    """Classes that a row is of, or was taken for."""
    seen = confusion.sum(axis=0) + confusion.sum(axis=1)
    return np.flatnonzero(seen).tolist()


def _of_class(confusion: NDArray[np.intp], at: int, labels: tuple[str, ...]) -> OfClass:
    right = int(confusion[at, at])
    called, rows = int(confusion[:, at].sum()), int(confusion[at].sum())
    others = confusion[at].copy()
    others[at] = 0
    most = int(others.argmax())
    return OfClass(
        label=labels[at],
        rows=rows,
        precision=right / called if called else None,
        precision_interval=wilson(right, called),
        recall=right / rows if rows else None,
        recall_interval=wilson(right, rows),
        taken_for=(labels[most], int(others[most])) if others[most] else None,
    )

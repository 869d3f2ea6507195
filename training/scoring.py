"""What the exported graph answers to the test rows, through the code that serves, and its score."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.inference.session import Session
from service.store import StoredModel
from service.tasks.task import task_of
from training.candidate import Candidate, rows_of, some_rows
from training.detection import detection_figures

#: Rows that are scored together.
SCORED = 64
#: Outputs that no figure is of, and that are as large as the rows themselves.
UNSCORED = frozenset({"reconstruction"})


@dataclass(frozen=True, slots=True)
class Answered:
    """What a graph answers to the test rows.

    Attributes:
        rows: (n,) places, among all rows, of those whose truth is known.
        answers: by name, what the service answers to these; (n, ...).
        truth: (n,) or (n, k): what is true of these.
        metrics: see `evaluate`.
    """

    rows: NDArray[np.intp]
    answers: dict[str, NDArray[Any]]
    truth: NDArray[Any]
    metrics: dict[str, float]


def evaluate(model: StoredModel, candidate: Candidate) -> dict[str, float]:
    """Score the exported graph as the service would answer: session, task, answer.

    Returns:
        Over the rows whose truth is known, their number, and: classify: the rate that is right;
        regress: mean absolute error `mae` and root mean squared error `rmse`, in the unit of the
        values, over all of their columns, and `r2`, the mean over the columns of the share of
        the variance that is explained; anomaly: of the normal rows the share that is called
        anomalies, `false_alarm_rate`, of the anomalies the share that is not, `miss_rate`, and
        where there are both `auroc`; generate: see `Generation.figures`. Then what
        `candidate.figures` adds.
    """
    return answered(model, candidate).metrics


def answered(model: StoredModel, candidate: Candidate) -> Answered:
    """What a graph answers to the rows whose truth is known, and its score."""
    truth = candidate.truth
    # Comparisons with NaN are false; -1 is no label.
    known = ~np.isnan(truth).any(axis=1) if candidate.task == "regress" else truth >= 0
    answers = _answers(model, candidate, known)
    metrics = _score(candidate, answers, truth[known])
    return Answered(np.flatnonzero(known), answers, truth[known], metrics)


def _score(
    candidate: Candidate, answers: dict[str, NDArray[Any]], wanted: NDArray[Any]
) -> dict[str, float]:
    rate = candidate.measured
    if candidate.task == "classify":
        named = np.array(candidate.labels, object)[wanted]
        figures = {rate[0]: float((answers["label"] == named).mean())}
    elif candidate.task == "anomaly":
        figures = detection_figures(answers, wanted)
    elif candidate.generation is not None:
        figures = candidate.generation(answers).figures
    else:
        figures = _errors(answers[candidate.outputs[0].name], wanted)
    figures[rate[1]] = float(len(wanted))
    if candidate.figures is not None:
        figures |= candidate.figures(answers, wanted)
    return figures


def _answers(
    model: StoredModel, candidate: Candidate, known: NDArray[np.bool_]
) -> dict[str, NDArray[Any]]:
    """What the service answers to the known rows, by name; (n, ...) in the order of the truth.

    Outputs whose extents differ between blocks are left out, and those that are UNSCORED.
    """
    session, task = Session(model, device="cpu"), task_of(model)
    parts: dict[str, list[NDArray[Any]]] = {}
    start = 0
    for block in candidate.blocks:
        rows = np.flatnonzero(known[start : start + rows_of(block)])
        start += rows_of(block)
        for some in np.split(rows, range(SCORED, len(rows), SCORED)):
            if len(some):
                for name, values in task.answer(session.run(some_rows(block, some))).items():
                    if name not in UNSCORED:
                        parts.setdefault(name, []).append(values)
    return {
        name: np.concatenate(values)
        for name, values in parts.items()
        if len({part.shape[1:] for part in values}) == 1
    }


def _errors(got: NDArray[Any], wanted: NDArray[Any]) -> dict[str, float]:
    """Errors of values (n, k)."""
    error = got.astype(np.float64) - wanted
    spread = np.square(wanted - wanted.mean(axis=0)).sum(axis=0)
    # One row, or a target that never changes, has no variance to explain.
    explained = 1 - np.square(error).sum(axis=0) / np.where(spread > 0, spread, np.inf)
    return {
        "mae": float(np.abs(error).mean()),
        "rmse": float(np.sqrt(np.square(error).mean())),
        "r2": float(explained.mean()),
    }

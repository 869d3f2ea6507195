"""What is known of a detector from its test rows: false alarms, misses, and how well it ranks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import kstest
from sklearn.metrics import roc_auc_score, roc_curve

from service.manifest import Calibration
from service.tasks.anomaly import ANOMALY
from training.intervals import Interval, bootstrap, wilson


@dataclass(frozen=True, slots=True)
class Detection:
    """A detector on its test rows.

    Attributes:
        scores: (n,) higher = more anomalous.
        truth: (n,) 1 of anomalies, 0 of normal rows.
        p_values: (n,) in [0, 1].
        calibration: that it was judged with.
        false_alarms: share of the normal rows that were called anomalies; None = there are none.
        misses: share of the anomalies that were not; None = there are none.
        auroc: that an anomaly scores higher than a normal row; None where a kind is missing.
        curve: (p, 2) rates of false alarms and of anomalies found; None likewise.
        uniformity: p-value of the Kolmogorov-Smirnov test of the normal rows' p-values against
            the uniform distribution; None where there are none.
    """

    scores: NDArray[np.float64]
    truth: NDArray[np.intp]
    p_values: NDArray[np.float64]
    calibration: Calibration
    false_alarms: float | None
    false_alarm_interval: Interval
    misses: float | None
    miss_interval: Interval
    auroc: float | None
    auroc_interval: Interval | None
    curve: NDArray[np.float64] | None
    uniformity: float | None

    @property
    def rows(self) -> int:
        """Rows that were scored."""
        return len(self.scores)


def detection_figures(answers: Mapping[str, NDArray[Any]], truth: NDArray[Any]) -> dict[str, float]:
    """`false_alarm_rate`, `miss_rate` and `auroc`, as far as there are rows of the kinds.

    Args:
        answers: what the service answers to n rows.
        truth: (n,) 1 of anomalies, 0 of normal rows.
    """
    called, figures = answers["verdict"] == ANOMALY, {}
    normal, anomalous = truth == 0, truth == 1
    if normal.any():
        figures["false_alarm_rate"] = float(called[normal].mean())
    if anomalous.any():
        figures["miss_rate"] = float(1 - called[anomalous].mean())
    if normal.any() and anomalous.any():
        figures["auroc"] = auroc(answers["score"].reshape(-1), truth)
    return figures


def auroc(scores: NDArray[Any], truth: NDArray[Any]) -> float:
    """That an anomaly scores higher than a normal row, ties counted half, in [0, 1].

    Args:
        scores: (n,) higher = more anomalous.
        truth: (n,) 1 of anomalies, 0 of normal rows; both kinds are there.
    """
    return float(roc_auc_score(truth, scores))


def detection(
    answers: Mapping[str, NDArray[Any]], truth: NDArray[Any], calibration: Calibration
) -> Detection:
    """Figures of a detector; see `Detection`."""
    scores = answers["score"].reshape(-1).astype(np.float64)
    truth = truth.astype(np.intp)
    called = answers["verdict"] == ANOMALY
    figures = detection_figures(answers, truth)
    normal, anomalous = truth == 0, truth == 1
    both = np.stack([scores, truth], axis=1)
    curve = interval = None
    if "auroc" in figures:
        false, found, _ = roc_curve(truth, scores)
        curve = np.stack([false, found], axis=1)
        interval = bootstrap(both, _auroc_of)
    p_values = answers["p_value"]
    even = float(kstest(p_values[normal], "uniform").pvalue) if normal.any() else None
    return Detection(
        scores=scores,
        truth=truth,
        p_values=p_values,
        calibration=calibration,
        false_alarms=figures.get("false_alarm_rate"),
        false_alarm_interval=wilson(int(called[normal].sum()), int(normal.sum())),
        misses=figures.get("miss_rate"),
        miss_interval=wilson(int((~called[anomalous]).sum()), int(anomalous.sum())),
        auroc=figures.get("auroc"),
        auroc_interval=interval,
        curve=curve,
        uniformity=even,
    )


def _auroc_of(rows: NDArray[np.float64]) -> float:
    """By ranks: the same figure, many times quicker; a draw of one kind alone says nothing."""
    from scipy.stats import rankdata

    anomalous = rows[:, 1] == 1
    found, rest = int(anomalous.sum()), int((~anomalous).sum())
    if not found or not rest:
        return 0.5
    ranks = rankdata(rows[:, 0])[anomalous].sum()
    return float((ranks - found * (found + 1) / 2) / (found * rest))

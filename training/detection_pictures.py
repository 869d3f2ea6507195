"""The figures of a detector as one picture: scores, how well it ranks, and its p-values."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.explain.figure import AGAINST_CSS, FOR_CSS, INK_CSS, QUIET_CSS
from training.detection import Detection
from training.evaluation_pictures import blank, png

#: Bars of a histogram of scores, and of one of p-values.
BARS, P_BARS = 40, 20


def draw_detection(found: Detection) -> bytes:
    """Histogram of the scores, ROC curve and p-values side by side, as PNG."""
    figure = blank(15.6, 4.9)
    left, middle, right = figure.subplots(1, 3, width_ratios=[1.25, 1, 1])
    _scores(left, found)
    _ranking(middle, found)
    _uniformity(right, found)
    return png(figure)


def _scores(axes: Any, found: Detection) -> None:
    edges = _edges(found.scores)
    kinds = ((0, "normal", FOR_CSS), (1, "anomaly", AGAINST_CSS))
    for kind, name, colour in kinds:
        scores = found.scores[found.truth == kind]
        if len(scores):
            shares = np.full(len(scores), 1 / len(scores))
            axes.hist(
                np.clip(scores, edges[0], edges[-1]), edges, weights=shares, color=colour,
                alpha=0.55, label=f"{name}, {len(scores)} rows",
            )  # fmt: skip
    limit = found.calibration.threshold
    if edges[0] <= limit <= edges[-1]:
        axes.axvline(limit, color=INK_CSS, linewidth=1.2, label=f"threshold {limit:.4g}")
    if edges[0] > 0 and edges[-1] / edges[0] > 50:
        axes.set_xscale("log")
    axes.set(xlabel="score", ylabel="share of the rows of a kind")
    axes.set_title("Scores of test rows", fontsize=11, loc="left")
    axes.legend(loc="upper right", fontsize=9, frameon=False)


def _edges(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ends of the bars, in steps or in factors; one score in a thousand may be beyond the last."""
    low, high = float(scores.min()), float(np.quantile(scores, 0.999))
    if high <= low:
        high = low + (abs(low) or 1.0) * 1e-3
    if low > 0 and high / low > 50:
        return np.geomspace(low, high, BARS + 1)
    return np.linspace(low, high, BARS + 1)


def _ranking(axes: Any, found: Detection) -> None:
    axes.plot([0, 1], [0, 1], color=QUIET_CSS, linewidth=1, linestyle=":")
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
    axes.set(xlabel="normal rows called anomalies", ylabel="anomalies found")
    axes.set_title("At every threshold", fontsize=11, loc="left")
    axes.grid(alpha=0.25)
    if found.curve is None:
        axes.text(0.5, 0.4, "rows of one kind alone", ha="center", color=QUIET_CSS)
        return
    axes.plot(*found.curve.T, color=FOR_CSS, label=f"AUROC {found.auroc:.3f}")
    if found.false_alarms is not None and found.misses is not None:
        axes.plot(
            found.false_alarms, 1 - found.misses, "o", color=AGAINST_CSS, label="at its threshold",
        )  # fmt: skip
    axes.legend(loc="lower right", fontsize=9, frameon=False)


def _uniformity(axes: Any, found: Detection) -> None:
    axes.set_title("p-values of normal test rows", fontsize=11, loc="left")
    axes.set(xlabel="p-value", ylabel="share of the rows", xlim=(0, 1))
    normal = found.p_values[found.truth == 0]
    if not len(normal):
        axes.text(0.5, 0.5, "no normal rows", ha="center", color=QUIET_CSS)
        return
    shares = np.full(len(normal), 1 / len(normal))
    edges = np.linspace(0, 1, P_BARS + 1)
    axes.hist(normal, edges, weights=shares, color=FOR_CSS, alpha=0.55)
    even = 1 / P_BARS
    reach = 1.96 * np.sqrt(even * (1 - even) / len(normal))
    axes.axhspan(max(0.0, even - reach), even + reach, color=QUIET_CSS, alpha=0.18, linewidth=0,
                 label="where 95 % of even bars are")  # fmt: skip
    axes.axhline(even, color=QUIET_CSS, linewidth=1, linestyle=":")
    axes.legend(loc="upper right", fontsize=9, frameon=False)

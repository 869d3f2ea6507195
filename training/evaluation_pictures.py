"""The figures of an evaluation as one picture."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from service.explain.figure import AGAINST_CSS, FOR_CSS, INK_CSS, QUIET_CSS, literal
from training.evaluation import Classification, Regression, Reliability
from training.intervals import wilson

#: Classes that a confusion matrix shows, and up to which it has numbers in it.
CLASSES, NUMBERED = 30, 20
#: Values of a regression that are drawn, one below the other.
VALUES = 3
DPI = 110


def draw_classification(found: Classification, labels: tuple[str, ...]) -> bytes:
    """Confusion matrix and calibration curve side by side, as PNG."""
    figure = blank(11.4, 5.6)
    left, right = figure.subplots(1, 2, width_ratios=[1.15, 1])
    _confusion(left, found, labels)
    _calibration(right, found)
    return png(figure)


def draw_regression(found: Regression) -> bytes:
    """Predicted beside true values, and the errors, as PNG; a line for each value."""
    shown = range(min(VALUES, found.truth.shape[1]))
    figure = blank(11.4, 4.6 * len(shown))
    panels = figure.subplots(len(shown), 2, squeeze=False)
    for column in shown:
        _predicted(panels[column][0], found, column)
        _residuals(panels[column][1], found, column)
    return png(figure)


def _confusion(axes: Any, found: Classification, labels: tuple[str, ...]) -> None:
    places = _shown_classes(found.confusion)
    matrix = found.confusion[np.ix_(places, places)]
    truly = np.maximum(found.confusion[places].sum(axis=1, keepdims=True), 1)
    shares = matrix / truly
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1.25, aspect="equal")
    names = [literal(labels[at], 18) for at in places]
    size = 9 if len(places) <= 12 else 7
    turn = 0 if max(map(len, names)) * len(names) <= 40 else 90
    axes.set_xticks(range(len(places)), names, fontsize=size, rotation=turn)
    axes.set_yticks(range(len(places)), names, fontsize=size)
    axes.set(xlabel="answered", ylabel="true")
    more = f", the {len(places)} classes with most mistakes" if len(places) < len(labels) else ""
    axes.set_title(f"Rows by class{more}", fontsize=11, loc="left")
    axes.set_xticks(np.arange(len(places) - 1) + 0.5, minor=True)
    axes.set_yticks(np.arange(len(places) - 1) + 0.5, minor=True)
    axes.grid(which="minor", color="white", linewidth=1.5)
    axes.tick_params(which="both", length=0)
    if len(places) > NUMBERED:
        return
    for (row, column), count in np.ndenumerate(matrix):
        if not count:
            continue
        colour = "white" if shares[row, column] > 0.6 else INK_CSS
        if row != column:
            axes.add_patch(_frame(row, column))
        axes.text(column, row, str(count), ha="center", va="center", fontsize=size, color=colour)


def _frame(row: int, column: int) -> Any:
    from matplotlib.patches import Rectangle

    return Rectangle((column - 0.47, row - 0.47), 0.94, 0.94, fill=False, ec=AGAINST_CSS, lw=1.5)


def _shown_classes(confusion: NDArray[np.intp]) -> NDArray[np.intp]:
    """All classes in their order, or those with most mistakes where there are too many."""
    if len(confusion) <= CLASSES:
        return np.arange(len(confusion))
    wrong = confusion.sum(axis=0) + confusion.sum(axis=1) - 2 * np.diag(confusion)
    seen = confusion.sum(axis=0) + confusion.sum(axis=1)
    return np.sort(np.lexsort((-seen, -wrong))[:CLASSES])


def _calibration(axes: Any, found: Classification) -> None:
    axes.plot([0, 1], [0, 1], color=QUIET_CSS, linewidth=1, linestyle=":")
    if found.unscaled is not None:
        one = found.unscaled
        axes.plot(
            one.confidence, one.accuracy, "o-", color=AGAINST_CSS, mfc="white", markersize=4,
            linewidth=1, label=f"as trained: error {100 * one.error:.1f} %",
        )  # fmt: skip
    released = found.reliability
    words = f"as released: error {100 * released.error:.1f} %"
    axes.plot(
        released.confidence, released.accuracy, "o-", color=FOR_CSS, markersize=5, label=words
    )
    _reach(axes, released)
    for x, y, rows in zip(released.confidence, released.accuracy, released.rows, strict=True):
        above = y < 0.15
        axes.annotate(
            str(rows), (x, y), (0, 9 if above else -15), textcoords="offset points", ha="center",
            fontsize=7.5, color=QUIET_CSS,
        )  # fmt: skip
    axes.set(xlim=(-0.02, 1.04), ylim=(-0.02, 1.04), aspect="equal")
    axes.set(xlabel="how sure it said it is", ylabel="share that is right")
    axes.set_title("Calibration; numbers are rows", fontsize=11, loc="left")
    axes.grid(alpha=0.25)
    axes.legend(loc="upper left", fontsize=9, frameon=False)


def _reach(axes: Any, released: Reliability) -> None:
    """The 95 % interval of each bin."""
    for x, y, rows in zip(released.confidence, released.accuracy, released.rows, strict=True):
        low, high = wilson(round(y * rows), int(rows))
        axes.plot([x, x], [low, high], color=FOR_CSS, linewidth=1, alpha=0.5)


def _predicted(axes: Any, found: Regression, column: int) -> None:
    truth, values = found.truth[:, column], found.values[:, column]
    low, high = min(truth.min(), values.min()), max(truth.max(), values.max())
    pad = 0.04 * ((high - low) or 1)
    ends = (low - pad, high + pad)
    axes.plot(ends, ends, color=QUIET_CSS, linewidth=1, linestyle=":")
    axes.scatter(truth, values, s=14, color=FOR_CSS, alpha=_alpha(len(truth)), linewidths=0)
    axes.set(xlim=ends, ylim=ends, aspect="equal")
    unit = f", {literal(found.unit, 20)}" if found.unit else ""
    axes.set(xlabel=f"true{unit}", ylabel=f"predicted{unit}")
    name = literal(found.targets[column], 40)
    axes.set_title(f"Predicted beside true: {name}", fontsize=11, loc="left")
    axes.grid(alpha=0.25)


def _residuals(axes: Any, found: Regression, column: int) -> None:
    truth, values = found.truth[:, column], found.values[:, column]
    error = values - truth
    axes.axhline(0, color=QUIET_CSS, linewidth=1, linestyle=":")
    axes.scatter(values, error, s=14, color=FOR_CSS, alpha=_alpha(len(truth)), linewidths=0)
    low, high = np.percentile(error, [5, 95])
    axes.axhspan(low, high, color=FOR_CSS, alpha=0.08, label="nine of ten errors", linewidth=0)
    mean = float(error.mean())
    axes.axhline(mean, color=AGAINST_CSS, linewidth=1.2, label=f"mean error {mean:+.3g}")
    unit = f", {literal(found.unit, 20)}" if found.unit else ""
    axes.set(xlabel=f"predicted{unit}", ylabel=f"predicted - true{unit}")
    axes.set_title("Errors", fontsize=11, loc="left")
    axes.grid(alpha=0.25)
    axes.legend(loc="best", fontsize=9, frameon=False)


def _alpha(rows: int) -> float:
    return float(np.clip(40 / np.sqrt(rows) / 3, 0.15, 0.8))


def blank(width: float, height: float) -> Figure:
    """An empty figure of so many inches."""
    figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def png(figure: Figure) -> bytes:
    """The figure as PNG."""
    picture = io.BytesIO()
    # Without the date and the version of the software: the same figures are the same file.
    figure.savefig(picture, format="png", metadata={"Software": None})
    return picture.getvalue()

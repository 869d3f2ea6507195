"""Predicted against true, one mark a unit: the picture of a regression that people look at."""

from __future__ import annotations

import io

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

_BLUE, _ORANGE, _GREY = "#1f5f99", "#c8540a", "#8a8a8a"


def truth_plot(
    predicted: NDArray[np.float64],
    true: NDArray[np.float64],
    ends: tuple[NDArray[np.float64], NDArray[np.float64]] | None,
    what: str,
    title: str,
    units: str = "unit",
) -> bytes:
    """A PNG of 1200 x 560 pixels: units in the order of their truth, and the scatter beside.

    Args:
        predicted, true: (n,) one a unit, in the unit of `what`.
        ends: (n,) lower and upper end of each interval; None = there are none.
        what: the value, with its unit.
        title: the model.
        units: what a mark is, in the singular.
    """
    order = np.argsort(true, kind="stable")
    true, predicted = true[order], predicted[order]
    ends = None if ends is None else (ends[0][order], ends[1][order])
    at = np.arange(len(true))
    figure = Figure(figsize=(12, 5.6), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2, width_ratios=(1.7, 1))
    figure.suptitle(title, fontsize=12)
    _by_unit(left, at, true, predicted, ends)
    left.set_xlabel(f"{len(true)} {units}s of the test part, in the order of their true value")
    left.set_ylabel(what)
    low, high = min(true.min(), predicted.min()), max(true.max(), predicted.max())
    right.plot([low, high], [low, high], color=_GREY, linewidth=1)
    right.scatter(true, predicted, s=18, color=_BLUE, alpha=0.75)
    right.set_xlabel(f"true {what}")
    right.set_ylabel(f"predicted {what}")
    edge = 0.03 * (high - low)
    right.set(xlim=(low - edge, high + edge), ylim=(low - edge, high + edge))
    right.set_aspect("equal", adjustable="box")
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    picture = io.BytesIO()
    figure.savefig(picture, format="png", metadata={"Software": None})
    return picture.getvalue()


def _by_unit(
    axes: object,
    at: NDArray[np.intp],
    true: NDArray[np.float64],
    predicted: NDArray[np.float64],
    ends: tuple[NDArray[np.float64], NDArray[np.float64]] | None,
) -> None:
    from matplotlib.axes import Axes

    assert isinstance(axes, Axes)
    outside = np.zeros(len(at), bool)
    if ends is not None:
        lower, upper = ends
        outside = (true < lower - 1e-4) | (true > upper + 1e-4)
        axes.vlines(at, lower, upper, color=_BLUE, alpha=0.25, linewidth=2, label="interval")
    axes.scatter(at, predicted, s=16, color=_BLUE, label="predicted", zorder=3)
    axes.plot(at, true, color="black", linewidth=1.2, label="true", zorder=2)
    if outside.any():
        axes.scatter(at[outside], predicted[outside], s=26, color=_ORANGE, zorder=4,
                     label=f"interval misses the truth ({outside.sum()})")  # fmt: skip
    axes.legend(frameon=False, loc="upper left", fontsize=9)

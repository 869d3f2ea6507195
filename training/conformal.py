"""Intervals that hold the truth at a stated rate, calibrated on units that training never saw.

The units are what is exchangeable: engines, runs, rows; the windows of one engine are not. Each
unit's errors are pooled with one and the same weight, however many windows it has. How the width
goes with the value is learnt on the training part, how wide it is in all on the held-out units.

The rate is exact for units of one row (at least the level, on average over draws of units). For
units of several rows it is reached as units become many; of k units it is off by some
sqrt(level (1 - level) / k), either way.

Source: Lei et al. 2018, arXiv:1604.04173, sec. 5.2 (locally weighted split conformal); Dunn,
Wasserman and Ramdas 2022, arXiv:1809.07441, sec. 3.1 (pooled distributions of groups).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from training.options import WrongOption

Array = NDArray[np.float64]
#: Knots of the width along the value, at most; and rows that each stands for, at least.
KNOTS, ROWS = 8, 50
#: Of the mean error, at least: a width of 0 would hold nothing.
SMALLEST = 0.1


def spread(predicted: Array, errors: Array) -> tuple[Array, Array]:
    """How large errors are along the predicted value.

    Args:
        predicted, errors: (n, k) of training windows.

    Returns:
        Knots (p, k), medians of as many groups of neighbouring values, and the mean absolute
        error in each group (p, k), above 0.
    """
    pieces = int(np.clip(len(predicted) // ROWS, 1, KNOTS))
    knots, sizes = [], []
    for values, off in zip(predicted.T, np.abs(errors).T, strict=True):
        groups = np.array_split(np.argsort(values, kind="stable"), pieces)
        knots.append([float(np.median(values[group])) for group in groups])
        least = max(SMALLEST * float(off.mean()), 1e-9)
        sizes.append([max(least, float(off[group].mean())) for group in groups])
    return np.array(knots).T, np.array(sizes).T


def at(predicted: Array, knots: Array, sizes: Array) -> Array:
    """Sizes at predicted values (n, k), linearly between the knots."""
    columns = zip(predicted.T, knots.T, sizes.T, strict=True)
    return np.stack([np.interp(*column) for column in columns], axis=1)


def factors(scores: Array, owners: NDArray[np.intp], level: float) -> Array:
    """By what the sizes are to be multiplied.

    Args:
        scores: (n, k) absolute errors of held-out windows, in sizes.
        owners: (n,) the unit that each belongs to.
        level: share of truths inside, in (0, 1).

    Returns:
        (k,) the smallest factor at which the units' mean share inside reaches the level, counted
        with one row more, of the mean weight of a row, that is never inside.

    Raises:
        WrongOption: there are too few units for this level.
    """
    units, of = np.unique(owners, return_inverse=True)
    fewest = math.ceil(level / (1 - level) - 1e-9)
    if len(units) < fewest:
        raise WrongOption(
            f"--interval: got {level:g} with {len(units)} held-out sequences, wanted at least "
            f"{fewest} of them to calibrate it. Lower it, collect more, or leave it out with "
            "--interval 0."
        )
    weights = 1.0 / np.bincount(of)[of]
    weights = weights / (weights.sum() + weights.mean())
    found = []
    for column in scores.T:
        order = np.argsort(column, kind="stable")
        inside = np.cumsum(weights[order])
        found.append(column[order][np.searchsorted(inside, level - 1e-12)])
    return np.array(found)


def coverage(lower: Array, upper: Array, true: Array) -> float:
    """Share of truths between the ends, ends included; all of one shape."""
    return float(((lower <= true) & (true <= upper)).mean())

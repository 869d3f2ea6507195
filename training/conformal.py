"""Intervals that hold the truth at a stated rate, calibrated on units that training never saw.

The units are what is exchangeable: engines, runs, rows; the windows of one engine are not. Each
unit's absolute errors are pooled with one and the same weight, however many windows it has.

Source: Lei et al. 2018, arXiv:1604.04173 (split conformal); Dunn, Wasserman and Ramdas 2022,
"Distribution-free prediction sets for two-layer hierarchical models", arXiv:1809.07441, sec. 3.1
(pooled distributions of groups).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from training.options import WrongOption


def margins(
    errors: NDArray[np.float64], owners: NDArray[np.intp], level: float
) -> NDArray[np.float64]:
    """Half the width of the interval around a prediction.

    Args:
        errors: (n, k) predicted less true, of held-out windows.
        owners: (n,) the unit that each belongs to.
        level: share of truths inside, in (0, 1).

    Returns:
        (k,) the smallest margin at which the units' mean share inside, with one unit more that
        is never inside, reaches the level.

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
    weights = 1.0 / np.bincount(of)[of] / (len(units) + 1)
    found = []
    for column in np.abs(errors).T:
        order = np.argsort(column, kind="stable")
        inside = np.cumsum(weights[order])
        found.append(column[order][np.searchsorted(inside, level - 1e-12)])
    return np.array(found)


def coverage(
    lower: NDArray[np.float64], upper: NDArray[np.float64], true: NDArray[np.float64]
) -> float:
    """Share of truths between the ends, ends included; all of one shape."""
    return float(((lower <= true) & (true <= upper)).mean())

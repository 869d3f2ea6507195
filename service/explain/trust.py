"""What it costs more to know: is the explanation true to the model, and would it come again?

Deletion and insertion hide and reveal the features in the order of their weights and watch
the score: the sooner it falls, and the sooner it rises, the truer the order. VSI and CSI
explain again with other seeds: do the same features come, with weights that agree?

Source: Petsiuk et al. 2018, arXiv:1806.07421 (deletion, insertion); Visani et al. 2020,
arXiv:2001.11757 (VSI, CSI).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.explain.explanation import LabelExplanation

#: Of a normal distribution's middle 95 %.
_Z = 1.959963984540054


def faithfulness(
    one: LabelExplanation,
    count: int,
    hide: Callable[[NDArray[np.int64]], NDArray[np.floating[Any]]],
) -> tuple[float, float]:
    """Deletion and insertion AUC of a label's order.

    Args:
        one: the label's explanation.
        count: features S of the input, those that the explanation leaves out included.
        hide: masks (n, S), 1 = shown, to the model's scores (n, K) of inputs that show only
            these features.

    Returns:
        Areas under the score over the share of features hidden, and revealed, 0 to 1 for
        probabilities. Features that the explanation leaves out come last, in their order.
    """
    weights = np.zeros(count)
    for feature, weight in one.weights:
        weights[feature] = weight
    order = np.argsort(-weights, kind="stable")
    steps = np.ones((count + 1, count), np.int64)
    for hidden in range(1, count + 1):
        steps[hidden, order[:hidden]] = 0
    scores = hide(np.concatenate([steps, 1 - steps]))[:, one.label]
    deletion, insertion = scores[: count + 1], scores[count + 1 :]
    return _area(deletion), _area(insertion)


def _area(scores: NDArray[np.floating[Any]]) -> float:
    """Trapezoidal area over equal steps from 0 to 1."""
    values = scores.astype(np.float64)
    return float((values[:-1] + values[1:]).mean() / 2)


def stability(explanations: Sequence[LabelExplanation]) -> tuple[float, float]:
    """VSI and CSI of explanations of one label with different seeds, two or more.

    Returns:
        VSI: the mean share of features that two explanations have in common. CSI: the mean
        share of pairs of explanations whose 95 % intervals of a feature's weight overlap, over
        the features that at least two name. Both 0 to 1.
    """
    return vsi(explanations), csi(explanations)


def vsi(explanations: Sequence[LabelExplanation]) -> float:
    """Variables stability index: mean share of common features, over all pairs."""
    chosen = [{segment for segment, _ in one.weights} for one in explanations]
    size = max(map(len, chosen))
    shares = [len(a & b) / size for a, b in combinations(chosen, 2)]
    return float(np.mean(shares))


def csi(explanations: Sequence[LabelExplanation]) -> float:
    """Coefficients stability index: mean share of overlapping 95 % intervals, by feature."""
    intervals: dict[int, list[tuple[float, float]]] = {}
    for one in explanations:
        for (segment, weight), error in zip(one.weights, one.weight_errors, strict=True):
            reach = _Z * error
            intervals.setdefault(segment, []).append((weight - reach, weight + reach))
    shares = [
        np.mean([a[0] <= b[1] and b[0] <= a[1] for a, b in combinations(seen, 2)])
        for seen in intervals.values()
        if len(seen) > 1
    ]
    return float(np.mean(shares)) if shares else 0.0

"""The linear surrogate: `lime`'s own, with the slow part of its selection screened.

`lime.lime_base` costs 1.6 s to import cold and about 130 MB resident, nearly all of it
scikit-learn and scipy; it does not import torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from lime.lime_base import LimeBase
from numpy.typing import NDArray
from sklearn.linear_model import Ridge
from sklearn.metrics import pairwise_distances

#: Candidates this close to the best R² are scored again the way upstream scores them.
_SCREEN = 1e-7
#: A feature with less than this share of its variance left is nearly a sum of chosen ones.
_COLLINEAR = 1e-6


@dataclass(frozen=True, slots=True)
class Fit:
    """One label's surrogate: score ≈ intercept + sum of weight x shown.

    `weights` are (segment, weight) by falling absolute weight. `r2` is weighted by
    proximity. `local_prediction` is the surrogate's value for the untouched picture.
    """

    intercept: float
    weights: tuple[tuple[int, float], ...]
    r2: float
    local_prediction: float


def kernel(distances: NDArray[np.float64], kernel_width: float) -> NDArray[np.float64]:
    """Upstream's exponential kernel: cosine distance to a weight in (0, 1]."""
    weights: NDArray[np.float64] = np.sqrt(np.exp(-(distances**2) / kernel_width**2))
    return weights


def selection(num_features: int) -> str:
    """What upstream's feature_selection "auto" means for this many features."""
    return "forward_selection" if num_features <= 6 else "highest_weights"


class Surrogate:
    """Masks with their proximities, ready to be fitted to any label.

    Args:
        shown: (N, S) int64, 1 = shown; row 0 all ones.
        kernel_width: in the unit of the distances, > 0.
        distances: (N,) of each row from row 0; None = cosine.
        feature_selection: as in upstream's LimeBase.

    Attributes:
        proximities: (N,) kernel weights.
        segments: S.
    Source: Ribeiro et al. 2016, arXiv:1602.04938; lime 0.2.0.1, lime_base.py.
    """

    def __init__(
        self,
        shown: NDArray[Any],
        kernel_width: float,
        *,
        distances: NDArray[np.float64] | None = None,
        feature_selection: str = "auto",
    ) -> None:
        self._shown = shown
        if distances is None:
            distances = pairwise_distances(shown, shown[0].reshape(1, -1), metric="cosine").ravel()
        self._distances: NDArray[np.float64] = distances
        self._selection = feature_selection
        self._base = ScreenedLime(partial(kernel, kernel_width=kernel_width))
        self.proximities = kernel(self._distances, kernel_width)
        self.segments = shown.shape[1]

    def errors(
        self, scores: NDArray[np.floating[Any]], label: int, segments: Sequence[int]
    ) -> tuple[float, ...]:
        """Standard errors of the weights of these segments, fitted together."""
        _, covariance = sandwich(
            self._shown[:, list(segments)], scores[:, label].astype(np.float64), self.proximities
        )
        return tuple(float(error) for error in np.sqrt(np.maximum(np.diag(covariance), 0)))

    def fit(
        self,
        scores: NDArray[np.floating[Any]],
        label: int,
        num_features: int,
        rows: NDArray[np.intp] | None = None,
    ) -> Fit:
        """Fit one column of `scores` (N, K), on all rows or on some.

        `rows` must begin with 0: upstream reads the untouched picture from the first row.
        """
        at: slice | NDArray[np.intp] = slice(None) if rows is None else rows
        intercept, weights, r2, local = self._base.explain_instance_with_data(
            self._shown[at], scores[at], self._distances[at], label, num_features, self._selection
        )
        return Fit(
            float(intercept),
            tuple((int(segment), float(weight)) for segment, weight in weights),
            float(r2),
            float(np.asarray(local).ravel()[0]),
        )


def sandwich(
    shown: NDArray[np.int64], scores: NDArray[np.float64], proximities: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Weights of the ridge on these segments, and their covariance.

    Args:
        shown: (n, S) masks.
        scores: (n,) of one label.
        proximities: (n,) kernel weights.

    Returns:
        (S,) weights in the score's unit, and (S, S). It holds whatever the errors look like,
        the surrogate's own misfit among them.
    Source: White 1980, doi 10.2307/1912934, with the n/(n-p) correction for few samples.
    """
    design = np.column_stack([np.ones(len(shown)), shown])
    penalty = np.eye(design.shape[1])
    penalty[0, 0] = 0
    bread = np.linalg.inv(design.T @ (design * proximities[:, None]) + penalty)
    weights = bread @ (design.T @ (proximities * scores))
    pull = design * (proximities * (scores - design @ weights))[:, None]
    freedom = len(shown) / max(1, len(shown) - design.shape[1])
    covariance = bread @ (pull.T @ pull) @ bread * freedom
    return weights[1:], covariance[1:, 1:]


class ScreenedLime(LimeBase):  # type: ignore[misc]  # lime has no type information
    """LimeBase whose forward selection fits only the candidates that can win.

    Upstream fits one Ridge a remaining feature a step (seconds). The R² of every candidate
    follows from one weighted Gram matrix; only those within `_SCREEN` of the best, and those
    too collinear to trust, are then fitted as upstream does, in its order and with its
    comparison. The chosen features, and so every bit of the result, are upstream's.
    """

    def forward_selection(
        self,
        data: NDArray[np.int64],
        labels: NDArray[np.floating[Any]],
        weights: NDArray[np.float64],
        num_features: int,
    ) -> NDArray[np.intp]:
        """Choose features greedily by weighted R²; see LimeBase."""
        screen = _Screen(data, labels, weights)
        chosen: list[int] = []
        for _ in range(min(num_features, data.shape[1])):
            candidates = screen.candidates(chosen)
            best = candidates[0]
            if len(candidates) > 1:
                best = self._best(data, labels, weights, chosen, candidates)
            chosen.append(best)
            screen.take(best)
        return np.array(chosen)

    def _best(
        self,
        data: NDArray[np.int64],
        labels: NDArray[np.floating[Any]],
        weights: NDArray[np.float64],
        chosen: list[int],
        candidates: Sequence[int],
    ) -> int:
        ridge = Ridge(alpha=0, fit_intercept=True, random_state=self.random_state)
        best, highest = 0, -100000000.0
        for candidate in candidates:
            columns = data[:, [*chosen, candidate]]
            ridge.fit(columns, labels, sample_weight=weights)
            score = ridge.score(columns, labels, sample_weight=weights)
            if score > highest:
                best, highest = candidate, score
        return best


class _Screen:
    """R² that each remaining feature would bring, by sweeping a weighted Gram matrix."""

    def __init__(
        self,
        data: NDArray[np.int64],
        labels: NDArray[np.floating[Any]],
        weights: NDArray[np.float64],
    ) -> None:
        share = weights / weights.sum()
        target = labels.astype(np.float64)
        centred = data - share @ data
        residual = target - share @ target
        weighted = centred * share[:, None]
        self._gram: NDArray[np.float64] = weighted.T @ centred
        self._cross: NDArray[np.float64] = weighted.T @ residual
        self._variance = np.diag(self._gram).copy()
        self._total = float(share @ residual**2)
        # A nearly constant score leaves R² to rounding: then nothing may be screened out.
        self._useless = self._total <= 1e-12 * float(share @ target**2)

    def candidates(self, chosen: Sequence[int]) -> list[int]:
        """Features that may win this step, ascending; never empty while any remain."""
        left = np.ones(self._variance.size, bool)
        left[list(chosen)] = False
        if self._useless:
            return [int(feature) for feature in np.flatnonzero(left)]
        variance = np.diag(self._gram)
        doubtful = left & (variance <= _COLLINEAR * self._variance)
        usable = left & ~doubtful
        gain = np.full(variance.size, -np.inf)
        gain[usable] = self._cross[usable] ** 2 / variance[usable] / self._total
        close = usable & (gain >= gain.max() - _SCREEN)
        return [int(feature) for feature in np.flatnonzero(close | doubtful)]

    def take(self, feature: int) -> None:
        """Remove the part of every feature and of the score that `feature` explains."""
        pivot = self._gram[feature, feature]
        if pivot <= _COLLINEAR * self._variance[feature]:
            self._useless = True
            return
        column = self._gram[:, feature] / pivot
        self._cross = self._cross - column * self._cross[feature]
        self._gram = self._gram - np.outer(column, self._gram[feature])

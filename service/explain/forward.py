"""Forward selection as upstream does it, with most of its fits screened out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from lime.lime_base import LimeBase
from numpy.typing import NDArray
from sklearn.linear_model import Ridge

#: Candidates this close to the best R² are scored again the way upstream scores them.
_SCREEN = 1e-7
#: A feature with less than this share of its variance left is nearly a sum of chosen ones.
_COLLINEAR = 1e-6


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

"""Weighted sums over samples: they rank features and judge halves without another pass.

Upstream ranks more than six features by a ridge over all of them: a copy of the samples and a
Gram matrix for every label and for both halves that the stability is judged by. Here the Gram
matrix is made once for each set of samples, in blocks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import LinAlgError, cho_factor, cho_solve
from scipy.linalg.lapack import dpocon

#: Upstream's penalty when it ranks features.
_ALPHA = 0.01
#: Two weights closer than this share of the largest are left to upstream's own arithmetic.
_APART = 1e-9
#: Rounding of a solution for each unit of the matrix's condition number, with a wide margin.
_ROUNDING = 1e-13
#: Share of a score's square that is change, below which the ranking is left to upstream.
_CONSTANT = 1e-16
_BLOCK_ROWS = 512


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


@dataclass(frozen=True, slots=True)
class Moments:
    """Sums over weighted samples x, about a centre c (D,) that is common to all parts.

    `total` is Σw, `first` Σw(x-c), `second` Σw(x-c)(x-c)ᵀ.
    """

    centre: NDArray[np.float64]
    total: float
    first: NDArray[np.float64]
    second: NDArray[np.float64]

    @classmethod
    def of(
        cls, data: NDArray[Any], weights: NDArray[np.float64], centre: NDArray[np.float64]
    ) -> Moments:
        """Summed in blocks: no copy of the samples is made."""
        root = np.sqrt(weights)
        first = np.zeros(len(centre))
        second = np.zeros((len(centre), len(centre)))
        for start in range(0, len(data), _BLOCK_ROWS):
            at = slice(start, start + _BLOCK_ROWS)
            block = data[at] - centre
            block *= root[at, None]
            first += root[at] @ block
            second += block.T @ block
        return cls(centre, float(weights.sum()), first, second)

    def plus(self, other: Moments) -> Moments:
        """Of both together."""
        return Moments(
            self.centre,
            self.total + other.total,
            self.first + other.first,
            self.second + other.second,
        )

    def ranking(
        self,
        data: NDArray[Any],
        labels: NDArray[np.floating[Any]],
        weights: NDArray[np.float64],
        num_features: int,
        *,
        exact: bool,
    ) -> NDArray[np.intp] | None:
        """The features with the highest weights, strongest first.

        None where there is no solution, or, if `exact`, where rounding decides the order.
        """
        target, varied = self._target(labels, weights)
        penalised = self._gram() + _ALPHA * np.eye(len(self.centre))
        try:
            factor = cho_factor(penalised, lower=False)
        except LinAlgError:
            return None
        coefficients = cho_solve(factor, self._cross(data, weights * target))
        size = np.abs(coefficients * data[0])
        order = np.argsort(-size, kind="stable")
        if not exact:
            return order[:num_features]
        reciprocal, _ = dpocon(factor[0], np.abs(penalised).sum(axis=0).max())
        # A nearly constant score leaves few digits of itself, and none when it is constant.
        if not (reciprocal > 0 and varied > _CONSTANT):
            return None
        share = max(_APART, _ROUNDING / reciprocal / np.sqrt(varied))
        slack = share * np.abs(coefficients).max() * np.abs(data[0])
        border = order[: num_features + 1]
        apart = size[border[:-1]] - size[border[1:]] > slack[border[:-1]] + slack[border[1:]]
        return order[:num_features] if apart.all() else None

    def fit(
        self,
        data: NDArray[Any],
        labels: NDArray[np.floating[Any]],
        weights: NDArray[np.float64],
        used: NDArray[np.intp],
    ) -> Fit:
        """The ridge on these features, of penalty 1."""
        target, _ = self._target(labels, weights)
        chosen = data[:, used].astype(np.float64)
        chosen -= weights @ chosen / self.total
        penalised = self._gram()[np.ix_(used, used)] + np.eye(len(used))
        coefficients = np.linalg.solve(penalised, (weights * target) @ chosen)
        missed = target - chosen @ coefficients
        spread = float(weights @ target**2)
        level = float(weights @ labels.astype(np.float64)) / self.total
        local = level + float(chosen[0] @ coefficients)
        return Fit(
            local - float(data[0, used] @ coefficients),
            ranked(used, coefficients),
            1 - float(weights @ missed**2) / spread if spread > 0 else 0.0,
            local,
        )

    def _gram(self) -> NDArray[np.float64]:
        """Weighted Gram matrix about the mean."""
        gram: NDArray[np.float64] = self.second - np.outer(self.first, self.first) / self.total
        return gram

    def _target(
        self, labels: NDArray[np.floating[Any]], weights: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], float]:
        """Labels about their mean, and the share of their square that this is."""
        values = labels.astype(np.float64)
        target = values - weights @ values / self.total
        square = float(weights @ values**2)
        return target, float(weights @ target**2) / max(square, 1e-300)

    def _cross(self, data: NDArray[Any], pull: NDArray[np.float64]) -> NDArray[np.float64]:
        mean = self.centre + self.first / self.total
        cross: NDArray[np.float64] = blocks_dot(data, pull) - mean * pull.sum()
        return cross


def ranked(
    used: NDArray[np.intp], coefficients: NDArray[np.floating[Any]]
) -> tuple[tuple[int, float], ...]:
    """(feature, weight) by falling absolute weight, equal ones in the order taken."""
    pairs = (
        (int(feature), float(weight)) for feature, weight in zip(used, coefficients, strict=True)
    )
    return tuple(sorted(pairs, key=lambda pair: abs(pair[1]), reverse=True))


def blocks_dot(data: NDArray[Any], vector: NDArray[np.float64]) -> NDArray[np.float64]:
    """`vector @ data`, without a float copy of all the data."""
    out = np.zeros(data.shape[1])
    for start in range(0, len(data), _BLOCK_ROWS):
        at = slice(start, start + _BLOCK_ROWS)
        out += vector[at] @ data[at]
    return out

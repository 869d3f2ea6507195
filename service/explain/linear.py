"""The surrogate of tables, texts and sequences: many features, any distance.

Upstream ranks more than six features by a ridge over all of them: a copy of the samples and a
Gram matrix for every label and for both halves that the stability is judged by. Here the Gram
matrix is made once for each set of samples, in blocks. It only decides which features are
taken and in which order; where its ranking is not beyond rounding, upstream's own ridge
decides. The fit on the features taken is upstream's, so every bit of the result is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import LinAlgError, cho_factor, cho_solve
from scipy.linalg.lapack import dpocon
from sklearn import config_context
from sklearn.linear_model import Ridge

from service.explain.surrogate import Fit, Surrogate, selection

#: Upstream's names for how features are chosen.
SELECTIONS = ("auto", "none", "forward_selection", "highest_weights", "lasso_path")
#: Upstream's penalty when it ranks features.
_ALPHA = 0.01
#: Two weights closer than this share of the largest are left to upstream's own arithmetic.
_APART = 1e-9
#: Rounding of a solution for each unit of the matrix's condition number, with a wide margin.
_ROUNDING = 1e-13
#: Share of a score's square that is change, below which the ranking is left to upstream.
_CONSTANT = 1e-16
_BLOCK_ROWS = 512


class LinearSurrogate(Surrogate):
    """Samples with their proximities, ready to be fitted to any label.

    Args:
        data: (N, D) uint8 or float64, what the surrogate sees; row 0 is the input itself.
        distances: (N,) of each row from row 0.
        kernel_width: in the unit of `distances`, > 0.
        feature_selection: one of `SELECTIONS`; "auto" is forward selection for up to six
            features and the highest weights above.

    Attributes:
        proximities: (N,) kernel weights.
        segments: D.
    Source: Ribeiro et al. 2016, arXiv:1602.04938; lime 0.2.0.1, lime_base.py.
    """

    def __init__(
        self,
        data: NDArray[Any],
        distances: NDArray[np.float64],
        kernel_width: float,
        feature_selection: str = "auto",
    ) -> None:
        super().__init__(
            data, kernel_width, distances=distances, feature_selection=feature_selection
        )
        self._parts: tuple[_Moments, _Moments, _Moments] | None = None

    def fit(
        self,
        scores: NDArray[np.floating[Any]],
        label: int,
        num_features: int,
        rows: NDArray[np.intp] | None = None,
    ) -> Fit:
        """Fit one column of `scores` (N, K), on all rows or on some that begin with 0.

        On all rows every bit is upstream's; on some, what ranks by a Gram matrix is also fitted
        by it, which differs by rounding.
        """
        at: slice | NDArray[np.intp] = slice(None) if rows is None else rows
        data, weights, column = self._shown[at], self.proximities[at], scores[at, label]
        method = selection(num_features) if self._selection == "auto" else self._selection
        used: NDArray[np.intp] | None = None
        if method == "highest_weights":
            moments = self._moments(rows)
            used = moments.ranking(data, column, weights, num_features, exact=rows is None)
            if used is not None and rows is not None:
                return moments.fit(data, column, weights, used)
        if used is None:
            floats = data.astype(np.float64, copy=False)
            used = np.asarray(
                self._base.feature_selection(floats, column, weights, num_features, method),
                np.intp,
            )
        # Upstream's own layout and type: its arithmetic must meet the same bits.
        chosen = data[:, used].astype(np.float64)
        # The samples were drawn here and the scores are checked: scikit-learn need not look.
        with config_context(assume_finite=True, skip_parameter_validation=True):
            ridge = Ridge(alpha=1, fit_intercept=True).fit(chosen, column, sample_weight=weights)
            return Fit(
                float(ridge.intercept_),
                _ranked(used, ridge.coef_),
                float(ridge.score(chosen, column, sample_weight=weights)),
                float(ridge.predict(np.ascontiguousarray(chosen[:1]))[0]),
            )

    def _moments(self, rows: NDArray[np.intp] | None) -> _Moments:
        """Of all rows, or of the first with the odd or the even ones: `quality`'s halves."""
        if self._parts is None:
            centre = _blocks_dot(self._shown, self.proximities) / self.proximities.sum()
            odd, even, first = (
                _Moments.of(self._shown[at], self.proximities[at], centre)
                for at in (slice(1, None, 2), slice(2, None, 2), slice(0, 1))
            )
            self._parts = (odd, even, first)
        odd, even, first = self._parts
        if rows is None:
            return odd.plus(even).plus(first)
        half = odd if rows[1] == 1 else even
        if not np.array_equal(rows[1:], np.arange(rows[1], len(self._shown), 2)):
            half = _Moments.of(self._shown[rows[1:]], self.proximities[rows[1:]], odd.centre)
        return half.plus(first)


@dataclass(frozen=True, slots=True)
class _Moments:
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
    ) -> _Moments:
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

    def plus(self, other: _Moments) -> _Moments:
        """Of both together."""
        return _Moments(
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
            _ranked(used, coefficients),
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
        cross: NDArray[np.float64] = _blocks_dot(data, pull) - mean * pull.sum()
        return cross


def _ranked(
    used: NDArray[np.intp], coefficients: NDArray[np.floating[Any]]
) -> tuple[tuple[int, float], ...]:
    """(feature, weight) by falling absolute weight, equal ones in the order taken."""
    pairs = (
        (int(feature), float(weight)) for feature, weight in zip(used, coefficients, strict=True)
    )
    return tuple(sorted(pairs, key=lambda pair: abs(pair[1]), reverse=True))


def _blocks_dot(data: NDArray[Any], vector: NDArray[np.float64]) -> NDArray[np.float64]:
    """`vector @ data`, without a float copy of all the data."""
    out = np.zeros(data.shape[1])
    for start in range(0, len(data), _BLOCK_ROWS):
        at = slice(start, start + _BLOCK_ROWS)
        out += vector[at] @ data[at]
    return out

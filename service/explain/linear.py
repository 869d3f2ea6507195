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
        self._grams: dict[bytes, _Gram] = {}

    def fit(
        self,
        scores: NDArray[np.floating[Any]],
        label: int,
        num_features: int,
        rows: NDArray[np.intp] | None = None,
    ) -> Fit:
        """Fit one column of `scores` (N, K), on all rows or on some that begin with 0."""
        at: slice | NDArray[np.intp] = slice(None) if rows is None else rows
        data, weights, column = self._shown[at], self.proximities[at], scores[at, label]
        used = self._choose(data, column, weights, num_features, rows)
        # Upstream's own layout and type: its arithmetic must meet the same bits.
        chosen = data[:, used].astype(np.float64)
        ridge = Ridge(alpha=1, fit_intercept=True).fit(chosen, column, sample_weight=weights)
        ranked = sorted(zip(used, ridge.coef_, strict=True), key=lambda x: -np.abs(x[1]))
        return Fit(
            float(ridge.intercept_),
            tuple((int(feature), float(weight)) for feature, weight in ranked),
            float(ridge.score(chosen, column, sample_weight=weights)),
            float(ridge.predict(np.ascontiguousarray(chosen[:1]))[0]),
        )

    def _choose(
        self,
        data: NDArray[Any],
        column: NDArray[np.floating[Any]],
        weights: NDArray[np.float64],
        num_features: int,
        rows: NDArray[np.intp] | None,
    ) -> NDArray[np.intp]:
        method = selection(num_features) if self._selection == "auto" else self._selection
        if method == "highest_weights":
            ranked = self._gram(rows).ranking(data, column, weights, num_features)
            if ranked is not None:
                return ranked
        chosen: NDArray[np.intp] = np.asarray(
            self._base.feature_selection(
                data.astype(np.float64, copy=False), column, weights, num_features, method
            ),
            np.intp,
        )
        return chosen

    def _gram(self, rows: NDArray[np.intp] | None) -> _Gram:
        key = b"" if rows is None else rows.tobytes()
        if key not in self._grams:
            at: slice | NDArray[np.intp] = slice(None) if rows is None else rows
            self._grams[key] = _Gram.of(self._shown[at], self.proximities[at])
        return self._grams[key]


@dataclass(frozen=True, slots=True)
class _Gram:
    """Weighted mean (D,) of the samples and their centred Gram matrix (D, D)."""

    mean: NDArray[np.float64]
    matrix: NDArray[np.float64]

    @classmethod
    def of(cls, data: NDArray[Any], weights: NDArray[np.float64]) -> _Gram:
        """Computed in blocks: no copy of the samples is made."""
        mean = _blocks_dot(data, weights) / weights.sum()
        root = np.sqrt(weights)
        matrix = np.zeros((data.shape[1], data.shape[1]))
        for start in range(0, len(data), _BLOCK_ROWS):
            at = slice(start, start + _BLOCK_ROWS)
            block = data[at] - mean
            block *= root[at, None]
            matrix += block.T @ block
        return cls(mean, matrix)

    def ranking(
        self,
        data: NDArray[Any],
        labels: NDArray[np.floating[Any]],
        weights: NDArray[np.float64],
        num_features: int,
    ) -> NDArray[np.intp] | None:
        """The features with the highest weights, strongest first; None where rounding decides."""
        target = labels.astype(np.float64)
        residual = target - weights @ target / weights.sum()
        pull = weights * residual
        cross = _blocks_dot(data, pull) - self.mean * pull.sum()
        penalised = self.matrix + _ALPHA * np.eye(len(self.matrix))
        try:
            factor = cho_factor(penalised, lower=False)
        except LinAlgError:
            return None
        coefficients = cho_solve(factor, cross)
        reciprocal, _ = dpocon(factor[0], np.abs(penalised).sum(axis=0).max())
        if not reciprocal > 0:
            return None
        # A nearly constant score leaves few digits of itself, and none when it is constant.
        varied = weights @ residual**2 / max(weights @ target**2, 1e-300)
        if not varied > _CONSTANT:
            return None
        share = max(_APART, _ROUNDING / reciprocal / np.sqrt(varied))
        slack = share * np.abs(coefficients).max() * np.abs(data[0])
        size = np.abs(coefficients * data[0])
        order = np.argsort(-size, kind="stable")
        border = order[: num_features + 1]
        apart = size[border[:-1]] - size[border[1:]] > slack[border[:-1]] + slack[border[1:]]
        return order[:num_features] if apart.all() else None


def _blocks_dot(data: NDArray[Any], vector: NDArray[np.float64]) -> NDArray[np.float64]:
    """`vector @ data`, without a float copy of all the data."""
    out = np.zeros(data.shape[1])
    for start in range(0, len(data), _BLOCK_ROWS):
        at = slice(start, start + _BLOCK_ROWS)
        out += vector[at] @ data[at]
    return out

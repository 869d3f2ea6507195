"""The linear surrogate of every modality: `lime`'s own, without its slow parts.

Sums over the samples decide which features are taken and in which order; where their ranking is
not beyond rounding, upstream's own ridge decides. The fit on the features taken is upstream's,
so every bit of the result is.

`lime.lime_base` costs 1.6 s to import cold and about 130 MB resident, nearly all of it
scikit-learn and scipy; it does not import torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn import config_context
from sklearn.linear_model import Ridge
from sklearn.metrics import pairwise_distances
from threadpoolctl import ThreadpoolController

from service.explain.forward import ScreenedLime
from service.explain.moments import Fit, Moments, blocks_dot, ranked

#: Upstream's names for how features are chosen.
SELECTIONS = ("auto", "none", "forward_selection", "highest_weights", "lasso_path")
#: A surrogate's matrices are small: on cores that others use too, a second thread made that of
#: a table 20 times slower. On one thread the bits do not hang on the number of cores either.
_BLAS = ThreadpoolController()


def one_blas_thread() -> AbstractContextManager[object]:
    """Linear algebra on one thread, while it lasts."""
    limit: AbstractContextManager[object] = _BLAS.limit(limits=1, user_api="blas")
    return limit


def kernel(distances: NDArray[np.float64], kernel_width: float) -> NDArray[np.float64]:
    """Upstream's exponential kernel: cosine distance to a weight in (0, 1]."""
    weights: NDArray[np.float64] = np.sqrt(np.exp(-(distances**2) / kernel_width**2))
    return weights


def selection(num_features: int) -> str:
    """What upstream's feature_selection "auto" means for this many features."""
    return "forward_selection" if num_features <= 6 else "highest_weights"


def cosine_distances(shown: NDArray[np.int64]) -> NDArray[np.float64]:
    """(N,) of each row of (N, S) masks from row 0, by upstream's very call."""
    distances: NDArray[np.float64] = pairwise_distances(
        shown, shown[0].reshape(1, -1), metric="cosine"
    ).ravel()
    return distances


class Surrogate:
    """Samples with their proximities, ready to be fitted to any label.

    Args:
        data: (N, D), what the surrogate sees; row 0 is the input itself. uint8 stands for
            upstream's float64 in an eighth of the memory; any other type is upstream's own.
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
        self._data = data
        self._selection = feature_selection
        self._base = ScreenedLime(partial(kernel, kernel_width=kernel_width))
        self.proximities = kernel(distances, kernel_width)
        self.segments = data.shape[1]
        self._parts: tuple[Moments, Moments, Moments] | None = None

    def errors(
        self, scores: NDArray[np.floating[Any]], label: int, segments: Sequence[int]
    ) -> tuple[float, ...]:
        """Standard errors of the weights of these segments, fitted together."""
        _, covariance = sandwich(
            self._data[:, list(segments)], scores[:, label].astype(np.float64), self.proximities
        )
        return tuple(float(error) for error in np.sqrt(np.maximum(np.diag(covariance), 0)))

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
        data, weights, column = self._data[at], self.proximities[at], scores[at, label]
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
        chosen = data[:, used]
        if chosen.dtype == np.uint8:
            chosen = chosen.astype(np.float64)
        # The samples were drawn here and the scores are checked: scikit-learn need not look.
        with config_context(assume_finite=True, skip_parameter_validation=True):
            ridge = Ridge(alpha=1, fit_intercept=True).fit(chosen, column, sample_weight=weights)
            return Fit(
                float(ridge.intercept_),
                ranked(used, ridge.coef_),
                float(ridge.score(chosen, column, sample_weight=weights)),
                float(ridge.predict(np.ascontiguousarray(chosen[:1]))[0]),
            )

    def _moments(self, rows: NDArray[np.intp] | None) -> Moments:
        """Of all rows, or of the first with the odd or the even ones: `quality`'s halves."""
        if self._parts is None:
            centre = blocks_dot(self._data, self.proximities) / self.proximities.sum()
            odd, even, first = (
                Moments.of(self._data[at], self.proximities[at], centre)
                for at in (slice(1, None, 2), slice(2, None, 2), slice(0, 1))
            )
            self._parts = (odd, even, first)
        odd, even, first = self._parts
        if rows is None:
            return odd.plus(even).plus(first)
        half = odd if rows[1] == 1 else even
        if not np.array_equal(rows[1:], np.arange(rows[1], len(self._data), 2)):
            half = Moments.of(self._data[rows[1:]], self.proximities[rows[1:]], odd.centre)
        return half.plus(first)


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

"""The Fréchet distance of two sets of pictures, in the feature space of a network.

Source: Fréchet 1957, of two Gaussians; Heusel et al. 2017, arXiv:1706.08500, sec. 1, of pictures.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

#: Ways in which the real pictures are cut in two; figures are the mean over them.
SPLITS = 10


class Gaussian(NamedTuple):
    """Mean (d,) and covariance (d, d) of features."""

    mean: NDArray[np.float64]
    covariance: NDArray[np.float64]


class Likeness(NamedTuple):
    """How far generated pictures are from real ones, beside how far real ones are from each other.

    Distances hang on how many pictures there are, and grow where there are few: all of them are
    between `rows` and `rows` pictures.

    Attributes:
        generated: mean distance of generated pictures from a half of the real ones.
        real: mean distance of one half of the real ones from the other.
    """

    generated: float
    real: float
    rows: int

    @property
    def ratio(self) -> float:
        """1 = as good as real; of real pictures that are all alike it is infinite."""
        return self.generated / self.real if self.real > 0 else float("inf")


def gaussian_of(features: NDArray[Any]) -> Gaussian:
    """The Gaussian with the moments of a sample.

    Args:
        features: (n, d), n at least 2.
    """
    values = features.astype(np.float64)
    return Gaussian(values.mean(axis=0), np.atleast_2d(np.cov(values, rowvar=False)))


def frechet_distance(one: Gaussian, other: Gaussian) -> float:
    """|m1 - m2|² + tr(C1 + C2 - 2 (C1 C2)^½), squared units of the features, 0 or more.

    The trace of the root is that of the root of C1^½ C2 C1^½, which is symmetric: its eigenvalues
    are real whatever the rank of the covariances is.
    """
    values, vectors = np.linalg.eigh(one.covariance)
    root = (vectors * np.sqrt(values.clip(min=0))) @ vectors.T
    product = root @ other.covariance @ root
    crossed = np.sqrt(np.linalg.eigvalsh((product + product.T) / 2).clip(min=0)).sum()
    apart = np.square(one.mean - other.mean).sum()
    spread = np.trace(one.covariance) + np.trace(other.covariance)
    return float(max(0.0, apart + spread - 2 * crossed))


def likeness(generated: NDArray[Any], real: NDArray[Any], seed: int = 0) -> Likeness:
    """Compare generated pictures with real ones by halves of the latter.

    Args:
        generated: (m, d) features, at least half as many as `real`.
        real: (n, d) features, n at least 4.
        seed: of the ways in which they are cut in two.
    """
    half = len(real) // 2
    random = np.random.default_rng(seed)
    halves, generations = [], []
    for _ in range(SPLITS):
        order = random.permutation(len(real))
        first, second = (gaussian_of(real[rows]) for rows in (order[:half], order[half : 2 * half]))
        drawn = gaussian_of(generated[random.permutation(len(generated))[:half]])
        halves.append(frechet_distance(first, second))
        generations.append(frechet_distance(drawn, second))
    return Likeness(float(np.mean(generations)), float(np.mean(halves)), half)

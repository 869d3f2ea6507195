"""Models for the explainers' tests: fixed, and each row scored by itself whatever the batch."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Rows = Callable[[NDArray[Any]], NDArray[np.floating[Any]]]


def scorer(seed: int, width: int, outputs: int, dtype: type, *, curved: bool) -> Rows:
    """(n, width) -> (n, outputs) of `dtype`; (n,) where `outputs` is 0."""
    weights = np.random.default_rng(seed).normal(size=(width, max(outputs, 1)))

    def scores(rows: NDArray[Any]) -> NDArray[np.floating[Any]]:
        # Column after column, so that no sum depends on how many rows there are.
        total = np.zeros((len(rows), weights.shape[1]))
        for column in range(width):
            total += np.outer(rows[:, column], weights[column])
        if curved:
            total = np.tanh(total) + np.sin(3 * total)
        return (total if outputs else total[:, 0]).astype(dtype)

    return scores

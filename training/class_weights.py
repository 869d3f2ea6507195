"""What a mistake costs by class, as `--class-weights` says."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from training.options import WrongOption


def class_weights(
    said: str, labels: Sequence[str], truth: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Weights of the classes.

    Args:
        said: `none`; `balanced`: n / (classes * rows of the class), so that all classes weigh as
            much together; or `LABEL=WEIGHT,LABEL=WEIGHT`, 1 where nothing is said.
        labels: names of the classes.
        truth: (n,) indices of labels, of the training part.

    Returns:
        (classes,) above 0.

    Raises:
        WrongOption: none of these, or no such label.
    """
    weights = np.ones(len(labels), np.float32)
    if said == "none":
        return weights
    if said == "balanced":
        counts = np.bincount(truth, minlength=len(labels))
        return (len(truth) / (len(labels) * np.maximum(counts, 1))).astype(np.float32)
    for part in said.split(","):
        label, _, number = part.rpartition("=")
        if label not in labels:
            raise WrongOption(
                f"--class-weights: got {part!r}, wanted none, balanced, or LABEL=WEIGHT of "
                f"{', '.join(labels[:20])}."
            )
        try:
            weight = float(number)
        except ValueError:
            weight = 0.0
        if not 0 < weight < np.inf:
            raise WrongOption(
                f"--class-weights: {label}: got {number!r}, wanted a number above 0, for example "
                f"{label}=2."
            )
        weights[list(labels).index(label)] = weight
    return weights

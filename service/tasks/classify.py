"""Classification: from class probabilities to a label and how sure it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.manifest import Manifest


def answer(manifest: Manifest, outputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Add the verdict to a classifier's outputs.

    Args:
        manifest: its first output holds class probabilities (n, n_labels), in [0, 1].
        outputs: the graph's outputs by name.

    Returns:
        The graph's outputs, then `label` (n,) BYTES, the label with the highest
        probability (the first of equals), and `confidence` (n,) FP32, that probability.
    """
    probabilities = outputs[manifest.outputs[0].name]
    best = probabilities.argmax(axis=-1)
    labels = np.empty(len(best), dtype=object)
    for row, index in enumerate(best):
        labels[row] = manifest.labels[index]
    confidence = probabilities[np.arange(len(best)), best].astype(np.float32)
    return {**outputs, "label": labels, "confidence": confidence}


def scores(manifest: Manifest, outputs: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
    """What an explanation explains: (n, n_labels) class probabilities, in [0, 1]."""
    return outputs[manifest.outputs[0].name]

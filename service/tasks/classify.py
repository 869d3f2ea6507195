"""Classification: from class probabilities to a label and how sure it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.manifest import Manifest


class Classifier:
    """The classification task of one model.

    Args:
        manifest: its first output holds class probabilities (n, n_labels), in [0, 1].
    """

    __slots__ = ("_labels", "_output")

    def __init__(self, manifest: Manifest) -> None:
        self._output = manifest.outputs[0].name
        self._labels = np.array(manifest.labels, dtype=object)

    def answer(self, outputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Add the verdict to the graph's outputs.

        Args:
            outputs: the graph's outputs by name.

        Returns:
            The graph's outputs, then `label` (n,) BYTES, the label with the highest
            probability (the first of equals), and `confidence` (n,) FP32, that probability.
        """
        probabilities = outputs[self._output]
        best = probabilities.argmax(axis=-1)
        if len(probabilities) == 1:  # a slice of one row costs a fifth of a maximum over it
            confidence = probabilities[0, best[0] : best[0] + 1]
        else:
            confidence = probabilities.max(axis=-1)
        confidence = confidence.astype(np.float32, copy=False)
        return {**outputs, "label": self._labels[best], "confidence": confidence}

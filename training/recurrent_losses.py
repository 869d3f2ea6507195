"""What recurrent networks are fitted to and judged by, at the end of a window or at every step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from service.manifest import Interval
from training.candidate import Figures
from training.conformal import coverage
from training.data.cmapss import phm_score
from training.data.sequences import Sequences
from training.fitting import Loss


def loss(task: str, weights: Tensor | None = None) -> Loss:
    """Cross-entropy by class weight, or the mean squared error; of what is known alone.

    The answer is (n, K) or (n, T, K); wanted are classes of one axis less, -1 where nobody
    knows, or values of the same axes, NaN there.
    """
    if task == "regress":

        def squared(answer: Tensor, wanted: Tensor) -> Tensor:
            known = ~torch.isnan(wanted)
            return nn.functional.mse_loss(answer[known], wanted[known])

        return squared

    def crossed(answer: Tensor, wanted: Tensor) -> Tensor:
        each = None if weights is None else weights.to(answer.device)
        logits, classes = answer.reshape(-1, answer.shape[-1]), wanted.reshape(-1)
        return nn.functional.cross_entropy(logits, classes, each, ignore_index=-1)

    return crossed


def score(task: str, scale: NDArray[np.float64]) -> tuple[str, Loss]:
    """Share that is right, or the mean absolute error in the targets' unit; of what is known."""
    if task == "regress":
        unit = torch.tensor(scale, dtype=torch.float32)

        def error(answer: Tensor, wanted: Tensor) -> Tensor:
            known = ~torch.isnan(wanted)
            return ((answer - wanted).abs() * unit.to(answer.device))[known].mean()

        return "error", error

    def accuracy(answer: Tensor, wanted: Tensor) -> Tensor:
        known = wanted >= 0
        return (answer.argmax(dim=-1) == wanted)[known].to(torch.float32).mean()

    return "accuracy", accuracy


def figures(sequences: Sequences, interval: Interval | None) -> Figures | None:
    """Further figures of a regression: the interval's coverage and width, the PHM08 score."""
    if sequences.labels:
        return None

    def more(answers: Mapping[str, NDArray[Any]], true: NDArray[Any]) -> dict[str, float]:
        found = {}
        if interval:
            lower, upper = (answers[end].astype(np.float64) for end in ("lower", "upper"))
            # The graph answers in FP32; a truth on the edge is inside.
            found["interval_coverage"] = coverage(lower - 1e-4, upper + 1e-4, true)
            found["interval_width"] = float((upper - lower).mean())
        if sequences.ends:
            value = answers["value"].astype(np.float64)
            found["phm_score"] = phm_score(value, true)
        return found

    return more

"""How sure a classifier has the right to be: one number, fitted on the validation part."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from torch import nn

from models.blocks import Tempered
from training.candidate import Candidate
from training.parity import network_answers

#: Temperatures that are looked at; beyond them something else is wrong.
LOWEST, HIGHEST = 0.05, 10.0


def calibrated(candidate: Candidate) -> tuple[Candidate, float | None]:
    """The candidate with its temperature inside the network, and the temperature.

    Returns:
        The candidate as it is, and None, where it is no classifier or has no validation part.
    """
    held = candidate.validation
    if held is None or candidate.task != "classify":
        return candidate, None
    said = [network_answers(candidate.network, block)[0] for block in held.blocks]
    known = held.truth >= 0
    if not known.any():
        return candidate, None
    temperature = fitted_temperature(np.concatenate(said)[known], held.truth[known])
    return replace(candidate, network=_divided(candidate.network, temperature)), temperature


def _divided(network: nn.Module, temperature: float) -> nn.Module:
    """A copy whose logits are divided: by itself where it can, else behind its softmax."""
    if getattr(network, "temperature", None) is None:
        return Tempered(network, temperature)
    network = copy.deepcopy(network)
    network.temperature = temperature  # type: ignore[assignment]
    return network


def fitted_temperature(probabilities: NDArray[Any], truth: NDArray[Any]) -> float:
    """The temperature with the lowest cross-entropy.

    Where all rows are right any lower temperature is better, down to 0. Therefore a class is
    taken to be certain only as far as so many rows can show it.
    Source: Guo et al. 2017, arXiv:1706.04599, sec. 4.2; Platt 1999, "Probabilistic outputs for
    support vector machines", sec. 2.2, for the targets.

    Args:
        probabilities: (n, classes), in [0, 1].
        truth: (n,) indices of classes.

    Returns:
        Above 1 where the network is too sure of itself, below 1 where it is not sure enough.
    """
    n, classes = probabilities.shape
    logits = np.log(np.maximum(probabilities.astype(np.float64), Tempered.SMALLEST))
    wanted = np.full((n, classes), 1 / (n + classes))
    wanted[np.arange(n), truth] = (n + 1) / (n + classes)

    def loss(exponent: float) -> float:
        scores = logits / np.exp(exponent)
        highest = scores.max(axis=1, keepdims=True)
        total = highest + np.log(np.exp(scores - highest).sum(axis=1, keepdims=True))
        return float((wanted * (total - scores)).sum(axis=1).mean())

    bounds = (np.log(LOWEST), np.log(HIGHEST))
    return float(np.exp(minimize_scalar(loss, bounds=bounds, method="bounded").x))


def before(probabilities: NDArray[Any], temperature: float) -> NDArray[np.float64]:
    """What the network said before its probabilities were divided: (n, classes)."""
    scores = np.log(np.maximum(probabilities.astype(np.float64), Tempered.SMALLEST)) * temperature
    raised = np.exp(scores - scores.max(axis=1, keepdims=True))
    softened: NDArray[np.float64] = raised / raised.sum(axis=1, keepdims=True)
    return softened

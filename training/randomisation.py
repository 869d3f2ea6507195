"""A sanity check of every release: do its explanations hang on what the network has learnt?

Inputs are explained by the released graph and by the same network with fresh random weights.
Explanations that stay alike show the input and not the model.

Source: Adebayo et al. 2018, "Sanity checks for saliency maps", arXiv:1810.03292, here in its
whole-network form; the weights are compared by rank.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import spearmanr
from torch import nn

from service.errors import ExplanationError
from service.explain.parameters import ExplainParameters
from service.inference.session import Session
from service.manifest import Randomisation
from service.modalities.choice import explainer_of
from service.store import StoredModel
from training.open_graph import OpenGraph

#: Above this mean rank correlation the check fails: half of what two equal rankings have.
SIMILAR = 0.5
#: Seconds that the two explanations of a row may take.
SECONDS = 120.0
GRAPH = "random.onnx"


def check(
    stored: StoredModel,
    network: nn.Module,
    export: Callable[[nn.Module, Path], object],
    rows: Mapping[str, NDArray[Any]],
    seed: int = 0,
    num_samples: int = 500,
) -> Randomisation | None:
    """Explain some rows twice and compare.

    Args:
        stored: the model as it will be released.
        network: that its graph was exported from.
        export: writes a network like it as ONNX.
        rows: its inputs by name, batch on axis 0; each is explained.
        seed: of the random weights and of the samples.
        num_samples: of each explanation.

    Returns:
        What goes into the manifest; None where the model declares no explainer, or where none
        of these rows can be explained.
    """
    if stored.manifest.explainer is None:
        return None
    parameters = ExplainParameters(num_samples=num_samples, seed=seed)
    trained = OpenGraph(stored, Session(stored))
    with_random = OpenGraph(stored, _random_session(stored, network, export, seed))
    alike = []
    for row in range(len(next(iter(rows.values())))):
        try:
            deadline = time.monotonic() + SECONDS
            learnt = explainer_of(trained, rows, row, parameters).explain(None, deadline)
            target = learnt.of().label
            again = parameters.model_copy(update={"target": target})
            chance = explainer_of(with_random, rows, row, again).explain(None, deadline)
        except ExplanationError:  # such a row has nothing to explain by itself
            continue
        alike.append(_similarity(learnt.arrays()["weights"][0], chance.arrays()["weights"][0]))
    if not alike:
        return None
    similarity = float(np.mean(alike))
    return Randomisation(
        inputs=len(alike),
        num_samples=num_samples,
        seed=seed,
        similarity=similarity,
        passed=similarity <= SIMILAR,
    )


def randomised(network: nn.Module, seed: int) -> nn.Module:
    """A copy with fresh weights: each layer's own initialisation, else its weights shuffled."""
    fresh = copy.deepcopy(network)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        for module in fresh.modules():
            reset = getattr(module, "reset_parameters", None)
            if callable(reset):
                reset()
                continue
            for weights in module.parameters(recurse=False):
                order = torch.randperm(weights.numel())
                weights.copy_(weights.flatten()[order].reshape(weights.shape))
    return fresh.eval()


def _random_session(
    stored: StoredModel,
    network: nn.Module,
    export: Callable[[nn.Module, Path], object],
    seed: int,
) -> Session:
    path = stored.folder / GRAPH
    export(randomised(network, seed), path)
    try:
        graph = stored.manifest.graphs["predict"].model_copy(update={"file": GRAPH})
        graphs = {**stored.manifest.graphs, "predict": graph}
        return Session(
            StoredModel(stored.manifest.model_copy(update={"graphs": graphs}), stored.folder)
        )
    finally:
        path.unlink()


def _similarity(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Spearman's rank correlation of the absolute weights; 0 where one ranks nothing."""
    one, other = np.abs(one), np.abs(other)
    if np.ptp(one) == 0 or np.ptp(other) == 0:
        return 0.0
    return float(spearmanr(one, other).statistic)

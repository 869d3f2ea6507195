"""Which task a model has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from numpy.typing import NDArray

from service.store import StoredModel
from service.tasks.act import Actor
from service.tasks.anomaly import AnomalyDetector
from service.tasks.classify import Classifier
from service.tasks.embed import Embedder
from service.tasks.generate import Generator
from service.tasks.regress import Regressor


class TaskAnswer(Protocol):
    """From the graph's outputs to the answer."""

    def answer(self, outputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """The graph's outputs by name, and what the task makes of them."""


def task_of(model: StoredModel) -> TaskAnswer:
    """The task that the model's manifest names.

    Raises:
        CorruptModel: an asset that it needs is not what it must be.
    """
    manifest = model.manifest
    if manifest.task == "classify":
        return Classifier(manifest)
    if manifest.task == "act":
        return Actor(manifest)
    if manifest.task == "anomaly":
        return AnomalyDetector(model)
    if manifest.task == "generate":
        return Generator()
    return Embedder() if manifest.task == "embed" else Regressor()

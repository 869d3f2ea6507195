"""Which task a model has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from numpy.typing import NDArray

from service.manifest import Manifest
from service.tasks.classify import Classifier
from service.tasks.regress import Regressor


class TaskAnswer(Protocol):
    """From the graph's outputs to the answer."""

    def answer(self, outputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """The graph's outputs by name, and what the task makes of them."""


def task_of(manifest: Manifest) -> TaskAnswer:
    """The task that the manifest names."""
    return Classifier(manifest) if manifest.task == "classify" else Regressor()

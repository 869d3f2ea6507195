"""A released graph, or one that is about to be, explained without a server."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from service.inference.session import Session
from service.manifest import Manifest
from service.store import StoredModel


@dataclass(frozen=True, slots=True)
class OpenGraph:
    """What an explanation needs of a model; see `service.modalities.modality.ExplainedModel`."""

    stored: StoredModel
    session: Session

    @property
    def manifest(self) -> Manifest:
        """The contract it is released with."""
        return self.stored.manifest

    def predict(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """The graph's outputs by name, batch on axis 0."""
        return self.session.run(inputs)

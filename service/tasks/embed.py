"""Embeddings: the graph's vector is the answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray


class Embedder:
    """The embedding task of one model; its first output holds the vectors (n, d)."""

    __slots__ = ()

    def answer(self, outputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """The graph's outputs as they are: vectors are compared, they are no verdict."""
        return dict(outputs)

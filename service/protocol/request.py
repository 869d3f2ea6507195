"""A decoded inference request: what every codec of this room makes of its bytes."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any

from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class RequestedOutput:
    """One output that the caller asked for, and whether as bytes or as JSON."""

    name: str
    binary: bool
    parameters: dict[str, Any]


@dataclass(slots=True)
class InferRequest:
    """One inference request, valid against its model's manifest.

    `inputs` holds every input of the manifest, in its shape and dtype, all with the same
    number of rows on axis 0. Arrays may be read-only views of the body. BYTES are object
    arrays of `str`. `outputs` is None where the caller wants all of them.
    """

    id: str | None
    inputs: dict[str, NDArray[Any]]
    outputs: tuple[RequestedOutput, ...] | None
    parameters: dict[str, Any]

    @property
    def rows(self) -> int:
        """Items in the batch, >= 1."""
        return len(next(iter(self.inputs.values())))

    @property
    def binary(self) -> bool:
        """Whether any output goes back as bytes: then `binary_codec.encode` makes the answer."""
        if self.outputs is None:
            return self.parameters.get("binary_data_output") is True
        return any(output.binary for output in self.outputs)

    def among(self, names: Collection[str]) -> InferRequest:
        """The same request, of those outputs alone; of all of them where it wants none."""
        kept = tuple(output for output in self.outputs or () if output.name in names)
        return replace(self, outputs=kept or None)

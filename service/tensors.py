"""What every part of a manifest is made of: tensors, files and how they are named."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from service.media import Part

#: Open Inference Protocol v2 datatypes that a model tensor may have.
Datatype = Literal[
    "BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64",
    "FP16", "FP32", "FP64", "BYTES",
]  # fmt: skip

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Tensor(Part):
    """One named input or output.

    `shape` counts the batch as axis 0; -1 is a free extent. `range` is inclusive, in `unit`.
    `features` names the last axis, one name an element.
    """

    name: str = Field(min_length=1)
    datatype: Datatype
    shape: tuple[Annotated[int, Field(ge=-1)], ...] = Field(min_length=1)
    unit: str | None = None
    range: tuple[float, float] | None = None
    features: tuple[str, ...] | None = None

    def check(self) -> None:
        """Refuse names that are not those of its columns, with ValueError."""
        names, extent = self.features, self.shape[-1]
        if names is None:
            return
        if len(self.shape) > 1 and extent >= 0 and len(names) != extent:
            raise ValueError(
                f"tensor '{self.name}' has {len(names)} features, but {extent} columns"
            )
        if len(set(names)) != len(names):
            raise ValueError(f"features of tensor '{self.name}' must differ, got {names}")


class Graph(Part):
    """A file in the model folder: an ONNX graph or an asset."""

    file: str = Field(pattern=r"^[A-Za-z0-9_.-]+$")
    sha256: Sha256

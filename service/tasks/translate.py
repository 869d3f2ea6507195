"""Translation: what a caller may ask of it, and what the answer holds.

A translation has parameters: they travel as columns beside the texts, one value a row, so that
batches, records, replays and explanations carry them without knowing them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from service.errors import InvalidParameter
from service.manifest import Manifest, Tensor
from service.tasks.parameters import Number, read_own

#: Widest beam that a caller may ask for.
WIDEST = 32
_DTYPES = {"beam_width": np.int32, "length_penalty": np.float64, "max_length": np.int32,
           "n_best": np.int32, "attention": np.bool_}  # fmt: skip


class Asked(BaseModel):
    """Parameters of a translation, one set for all rows of a request."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    beam_width: Annotated[int, Number] = Field(
        5, ge=1, le=WIDEST, description="Hypotheses kept at each step; 1 = greedy."
    )
    length_penalty: Annotated[float, Number] = Field(
        0.6,
        ge=0,
        le=2,
        description="Exponent of the length penalty (Wu et al. 2016); 0 = none, short answers win.",
    )
    max_length: Annotated[int, Number] | None = Field(
        None, ge=1, description="Tokens of a translation; one that has not ended by then is cut."
    )
    n_best: Annotated[int, Number] = Field(
        1, ge=1, le=WIDEST, description="Translations a text, the best first; at most beam_width."
    )
    attention: bool = Field(
        False, description="Also answer how each token was attended to; asking for the output does."
    )

    def columns(self, rows: int) -> dict[str, NDArray[Any]]:
        """One value a row; `max_length` 0 stands for the model's own."""
        values = {**self.model_dump(), "max_length": self.max_length or 0}
        return {name: np.full(rows, values[name], dtype) for name, dtype in _DTYPES.items()}

    @classmethod
    def of_columns(cls, inputs: Mapping[str, NDArray[Any]]) -> Asked:
        """The parameters that stand beside the texts; the usual ones where none do."""
        given = {name: inputs[name][0].item() for name in _DTYPES if name in inputs}
        if not given.get("max_length"):
            given.pop("max_length", None)
        return cls(**given)


def own_parameters(values: Mapping[str, Any], manifest: Manifest) -> tuple[Asked, dict[str, Any]]:
    """Take a translation's parameters out of a request's.

    Args:
        values: parameter name -> JSON value or query-string text.
        manifest: of the model that is asked.

    Returns:
        What is asked of the translation, and what is left: the protocol's own parameters and
        whatever else there is.

    Raises:
        InvalidParameter: a value is of the wrong type or outside its range.
    """
    asked, rest = read_own(Asked, values, manifest)
    if asked.n_best > asked.beam_width:
        raise InvalidParameter(
            f"{manifest.reference}: parameters: n_best: got {asked.n_best}, but a beam of "
            f"{asked.beam_width} finds no more than that. Raise beam_width, or lower n_best."
        )
    limit = longest_translation(manifest)
    if asked.max_length is not None and asked.max_length > limit:
        raise InvalidParameter(
            f"{manifest.reference}: parameters: max_length: got {asked.max_length}, wanted 1 to "
            f"{limit}. Send the text in parts."
        )
    return asked, rest


def longest_translation(manifest: Manifest) -> int:
    """Tokens that a translation of this model may have, END counted."""
    media = manifest.subwords
    assert media is not None  # the manifest says so
    return media.longest_answer


def outputs_of() -> tuple[Tensor, ...]:
    """What a translation answers: n rows, k translations each, T tokens, S source tokens."""
    return (
        Tensor(name="text", datatype="BYTES", shape=(-1, -1)),
        Tensor(name="score", datatype="FP32", shape=(-1, -1), unit="nat"),
        Tensor(name="tokens", datatype="BYTES", shape=(-1, -1, -1)),
        Tensor(name="token_numbers", datatype="INT64", shape=(-1, -1, -1)),
        Tensor(name="source_tokens", datatype="BYTES", shape=(-1, -1)),
        Tensor(name="attention", datatype="FP32", shape=(-1, -1, -1, -1), range=(0.0, 1.0)),
    )


def stacked(rows: Sequence[Sequence[NDArray[Any]]], fill: Any, dtype: Any) -> NDArray[Any]:
    """Arrays of unequal extents as one, (rows, columns, ...): what is not there is `fill`."""
    shapes = [array.shape for row in rows for array in row]
    extents = [max(shape[axis] for shape in shapes) for axis in range(len(shapes[0]))]
    whole: NDArray[Any] = np.full((len(rows), max(len(row) for row in rows), *extents), fill, dtype)
    for at, row in enumerate(rows):
        for column, array in enumerate(row):
            place: Any = (at, column, *(slice(extent) for extent in array.shape))
            whole[place] = array if array.ndim else array.item()
    return whole

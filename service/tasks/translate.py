"""Translation: what a caller may ask of it, and what the answer holds.

A translation has parameters: they travel as columns beside the texts, one value a row, so that
batches, records, replays and explanations carry them without knowing them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from service.errors import InvalidParameter
from service.manifest import Manifest, Tensor

#: Widest beam that a caller may ask for.
WIDEST = 32
#: Parameters of the protocol itself, which say nothing about the translation.
_PROTOCOL = frozenset({"binary_data_output", "priority", "timeout"})
_DTYPES = {"beam_width": np.int32, "length_penalty": np.float64, "max_length": np.int32,
           "n_best": np.int32, "attention": np.bool_}  # fmt: skip


def _number(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("Input should be a number")
    return value


_Number = BeforeValidator(_number)


class Asked(BaseModel):
    """Parameters of a translation, one set for all rows of a request."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    beam_width: Annotated[int, _Number] = Field(
        5, ge=1, le=WIDEST, description="Hypotheses kept at each step; 1 = greedy."
    )
    length_penalty: Annotated[float, _Number] = Field(
        0.6,
        ge=0,
        le=2,
        description="Exponent of the length penalty (Wu et al. 2016); 0 = none, short answers win.",
    )
    max_length: Annotated[int, _Number] | None = Field(
        None, ge=1, description="Tokens of a translation; one that has not ended by then is cut."
    )
    n_best: Annotated[int, _Number] = Field(
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
    own = {name: value for name, value in values.items() if name in Asked.model_fields}
    try:
        asked = Asked.model_validate(own)
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(str(p) for p in e['loc'])}: {e['msg']}, got {e['input']!r:.80}"
            for e in error.errors()
        )
        raise InvalidParameter(f"{manifest.reference}: parameters: {problems}.") from None
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
    return asked, {name: value for name, value in values.items() if name not in own}


def refuse_others(values: Mapping[str, Any], manifest: Manifest) -> None:
    """Refuse what means nothing to a translation, so that nobody believes that it was heeded.

    Raises:
        InvalidParameter: there is such a parameter.
    """
    if unknown := sorted(set(values) - _PROTOCOL):
        raise InvalidParameter(
            f"{manifest.reference}: parameters: got {', '.join(unknown):.200}, wanted some of "
            f"{', '.join(Asked.model_fields)}. Leave out what is not among them."
        )


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

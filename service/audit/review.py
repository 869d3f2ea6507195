"""What a person says of a record: a sign-off, another verdict, or a correction.

Nothing is changed: each is a record of its own beside the one that it is about. An API key names
the program that sent it and is nobody's signature, so the person is named beside it.
Source: 21 CFR 11.50 (name, time and meaning of a signature).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Annotated, Any, Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field, JsonValue, StringConstraints, ValidationError

from service.audit.canonical import canonical
from service.errors import InvalidParameter, TooLarge

#: Bytes of a correction as JSON.
LARGEST_CORRECTION = 65_536
#: Beyond this JSON's readers round, and not all alike (RFC 8259, section 6).
LARGEST_NUMBER = 2**53 - 1
Line = Annotated[
    str,
    StringConstraints(
        strip_whitespace=True, min_length=1, max_length=256, pattern=r"^[^\x00-\x1f\x7f]*$"
    ),
]
Comment = Annotated[str, StringConstraints(strip_whitespace=True, max_length=4096)]
_EXAMPLE = (
    '{"kind": "review", "person": "Ada Lovelace", "meaning": "reviewed and released", '
    '"comment": "..."}'
)


class _Said(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    person: Line
    meaning: Line
    comment: Comment = ""


class Review(_Said):
    """Somebody looked at the record and stands for what `meaning` says."""

    kind: Literal["review"]


class Override(_Said):
    """Somebody gave another verdict; the model's own stays where it is."""

    kind: Literal["override"]
    decision: Line
    comment: Annotated[Comment, Field(min_length=1)]


class Correction(_Said):
    """Somebody says that the record is wrong, and how it should read."""

    kind: Literal["correction"]
    correction: dict[str, JsonValue] = Field(min_length=1)
    comment: Annotated[Comment, Field(min_length=1)]


_KINDS: dict[str, type[Review | Override | Correction]] = {
    "review": Review,
    "override": Override,
    "correction": Correction,
}


def parse(body: bytes) -> Review | Override | Correction:
    """What a request body says.

    Raises:
        InvalidParameter: it is no review; the message says which field.
        TooLarge: the correction is.
    """
    try:
        document: Any = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InvalidParameter(f"review: no JSON ({error}). Send {_EXAMPLE}") from None
    if not isinstance(document, dict):
        raise InvalidParameter(f"review: got no JSON object. Send {_EXAMPLE}")
    kind = document.get("kind")
    if not isinstance(kind, str) or kind not in _KINDS:
        raise InvalidParameter(
            f"review: kind: got {str(kind)[:40]!r}, wanted {', '.join(_KINDS)}. Send {_EXAMPLE}"
        )
    try:
        said = _KINDS[kind].model_validate(document)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise InvalidParameter(f"review: {where}: {first['msg']}. Send {_EXAMPLE}") from None
    if isinstance(said, Correction):
        _check_correction(said.correction)
    return said


def _check_correction(correction: dict[str, Any]) -> None:
    """That it can be recorded: a record holds no number that another reader would round."""
    try:
        size = len(canonical(correction))
        largest = max(_magnitudes(correction), default=0)
    except (ValueError, RecursionError):
        largest = math.inf
    if largest > LARGEST_NUMBER:
        raise InvalidParameter(
            "review: correction: cannot be recorded as it is. Send numbers beyond 2**53 as text, "
            "and nothing that is nested hundreds of levels deep."
        )
    if size > LARGEST_CORRECTION:
        raise TooLarge(f"review: correction: {size} bytes; at most {LARGEST_CORRECTION} are kept.")


def _magnitudes(value: Any) -> Iterator[float]:
    """Of every number in a JSON value."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for inner in value:
            yield from _magnitudes(inner)
    elif isinstance(value, (int, float)):
        yield abs(value)

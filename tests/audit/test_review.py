"""What a person says of a record: a review, or a refusal in words; whatever the bytes are."""

from __future__ import annotations

import json

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from service.audit.canonical import canonical
from service.audit.review import Correction, parse
from service.errors import InvalidParameter, TooLarge

SIGNED = {"person": "Ada Lovelace", "meaning": "corrected", "comment": "wrong line"}
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=12,
)


def correction(value: object) -> bytes:
    said = {**SIGNED, "kind": "correction", "correction": {"value": value}}
    return json.dumps(said).encode("utf-8", "surrogatepass")


@given(st.binary(max_size=200))
@example(b"[" * 5000)
@example(b'{"kind":"review","kind":"override"}')
@example(b'{"kind":["review"]}')
@example(b"\xff")
def test_any_bytes_are_a_review_or_are_refused(body: bytes) -> None:
    with pytest.raises(InvalidParameter, match="^review: "):
        parse(body)


@settings(max_examples=60)
@given(VALUES)
@example(2**53)
@example(-(2**70))
@example(1e400)
@example(float("nan"))
@example("\ud800")
def test_what_is_accepted_can_be_recorded_and_stays_what_it_was(value: object) -> None:
    try:
        said = parse(correction(value))
    except InvalidParameter:
        return
    assert isinstance(said, Correction)
    assert json.loads(canonical(said.correction)) == {"value": json.loads(json.dumps(value))}


@pytest.mark.parametrize("number", [2**53, -(2**53), 10**30])
def test_a_number_that_others_would_round_is_refused(number: int) -> None:
    with pytest.raises(InvalidParameter, match="review: correction: cannot be recorded"):
        parse(correction(number))


def test_a_correction_that_is_nested_without_end_is_refused() -> None:
    def nested(depth: int) -> bytes:
        return correction("here").replace(b'"here"', b"[" * depth + b"]" * depth)

    parse(nested(10))
    for depth in (600, 900, 1020, 30_000):
        with pytest.raises((InvalidParameter, TooLarge), match="^review: "):
            parse(nested(depth))

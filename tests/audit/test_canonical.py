"""Canonical JSON is RFC 8785's, whichever way it is made."""

from __future__ import annotations

import math
import struct
from enum import IntEnum, StrEnum
from typing import Any
from uuid import UUID

import numpy as np
import pytest
import rfc8785
from hypothesis import example, given
from hypothesis import strategies as st

from service.audit.canonical import canonical, canonical_part, canonical_prepared

#: Every character there is, lone surrogates too: those must be refused by both.
TEXT = st.text(st.characters(exclude_categories=()), max_size=8)
#: Keys where UTF-16 order and code-point order differ stand side by side.
KEYS = st.one_of(
    TEXT, st.text("aZ09", max_size=3), st.text("\ue000\uffff\U00010000\U0010ffff", max_size=2)
)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**54), 2**54),
    st.integers(),
    st.floats(),
    st.floats(1e-8, 1e-3),
    st.integers(-(10**25), 10**25).map(float),
    TEXT,
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(KEYS, inner, max_size=4),
    ),
    max_leaves=12,
)


def outcome(encode: Any, value: Any) -> bytes | str:
    try:
        encoded: bytes = encode(value)
    except ValueError:
        return "refused"
    return encoded


@given(VALUES)
@example({"\ufffd": 1, "\U0001f600": 2})
@example({"deep": [{"é": float(2**53), "b": -0.0}]})
def test_it_writes_and_refuses_what_the_reference_does(value: Any) -> None:
    assert outcome(canonical, value) == outcome(rfc8785.dumps, value)


@given(st.integers(0, 2**64 - 1))
def test_every_double_is_written_as_the_reference_writes_it(bits: int) -> None:
    (value,) = struct.unpack(">d", bits.to_bytes(8, "big"))
    assert outcome(canonical, value) == outcome(rfc8785.dumps, value)


@pytest.mark.parametrize(
    ("bits", "text"),  # RFC 8785, appendix B, whole
    [
        ("0000000000000000", "0"),
        ("8000000000000000", "0"),
        ("0000000000000001", "5e-324"),
        ("8000000000000001", "-5e-324"),
        ("7fefffffffffffff", "1.7976931348623157e+308"),
        ("ffefffffffffffff", "-1.7976931348623157e+308"),
        ("4340000000000000", "9007199254740992"),
        ("c340000000000000", "-9007199254740992"),
        ("4430000000000000", "295147905179352830000"),
        ("44b52d02c7e14af5", "9.999999999999997e+22"),
        ("44b52d02c7e14af6", "1e+23"),
        ("44b52d02c7e14af7", "1.0000000000000001e+23"),
        ("444b1ae4d6e2ef4e", "999999999999999700000"),
        ("444b1ae4d6e2ef4f", "999999999999999900000"),
        ("444b1ae4d6e2ef50", "1e+21"),
        ("3eb0c6f7a0b5ed8c", "9.999999999999997e-7"),
        ("3eb0c6f7a0b5ed8d", "0.000001"),
        ("41b3de4355555553", "333333333.3333332"),
        ("41b3de4355555554", "333333333.33333325"),
        ("41b3de4355555555", "333333333.3333333"),
        ("41b3de4355555556", "333333333.3333334"),
        ("41b3de4355555557", "333333333.33333343"),
        ("becbf647612f3696", "-0.0000033333333333333333"),
        ("43143ff3c1cb0959", "1424953923781206.2"),
    ],
)
def test_numbers_are_those_of_the_standard(bits: str, text: str) -> None:
    (value,) = struct.unpack(">d", bytes.fromhex(bits))
    assert canonical(value) == text.encode()


def test_keys_are_sorted_by_utf_16_unit_as_in_the_standard() -> None:
    keys = ["\u20ac", "\r", "\ufb33", "1", "\U0001f600", "\u0080", "\u00f6"]  # RFC 8785, 3.2.3
    wanted = '{"\\r":1,"1":3,"\x80":5,"ö":6,"€":0,"\U0001f600":4,"\ufb33":2}'
    assert canonical({key: n for n, key in enumerate(keys)}) == wanted.encode()


class Colour(StrEnum):
    RED = "red"


class Level(IntEnum):
    HIGH = 3


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        (1.0, b"1"),
        (-0.0, b"0"),
        (2**53 - 1, b"9007199254740991"),
        (np.float64(0.5), b"0.5"),  # a float by inheritance
        ([Colour.RED, Level.HIGH], b'["red",3]'),
        ({"b": 1, "a": ()}, b'{"a":[],"b":1}'),
    ],
)
def test_values_with_a_canonical_form(value: Any, wanted: bytes) -> None:
    assert canonical(value) == wanted


@pytest.mark.parametrize(
    "value",
    [
        math.nan, math.inf, -math.inf, 2**53, -(2**53), b"bytes", {1: 2}, {"a": {3}}, "\ud800",
        {"\udfff": 1}, UUID(int=7), np.int64(3), np.zeros(2), [1, [2, [math.nan]]], {"x": object()},
    ],
)  # fmt: skip
def test_values_without_a_canonical_form_are_refused(value: Any) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the messages are the reference's own
        canonical(value)


PLAIN = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**54), 2**54), TEXT),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.text("aZ_09", max_size=3), inner)
    ),
    max_leaves=12,
)


@given(PLAIN, st.floats(allow_nan=False, allow_infinity=False))
def test_plain_values_with_floats_in_parts_need_no_second_look(value: Any, number: float) -> None:
    whole = {"plain": value, "part": [number]}
    said = outcome(lambda v: canonical_prepared({**v, "part": canonical_part(v["part"])}), whole)
    assert said == outcome(rfc8785.dumps, whole)

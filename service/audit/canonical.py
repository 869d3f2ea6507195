"""JSON that has one form only (RFC 8785), at the cost of a prediction.

`rfc8785` is the reference and slow; orjson writes the same bytes for nearly all values.
What it writes otherwise is known, is kept from it here, and goes to the reference.
"""

from __future__ import annotations

from typing import Any

import orjson
import rfc8785

#: Beyond this a JSON number is no exact integer any more; RFC 8785 refuses such integers.
_LARGEST_INTEGER = 2**53 - 1
#: Fractions from here on are written as plain decimals by every version of orjson, as in
#: ECMAScript; below, orjson turns to exponents earlier.
_SMALLEST_DECIMAL = 1e-5
#: What `canonical_part` makes; a member of what `canonical` takes.
Part = orjson.Fragment
_OPTIONS = orjson.OPT_SORT_KEYS | orjson.OPT_STRICT_INTEGER


class _ForTheReference(Exception):
    """This value may not be given to orjson."""


def canonical(value: Any) -> bytes:
    """Canonical JSON of a value.

    Args:
        value: None, bool, int within 2**53 - 1, finite float, str, and lists, tuples and
            dicts with str keys of these.

    Returns:
        UTF-8 bytes; equal values have equal bytes.

    Raises:
        ValueError: NaN, an infinity, a larger integer, a lone surrogate, or another type.

    Source: RFC 8785.
    """
    try:
        return orjson.dumps(_prepared(value), option=_OPTIONS)
    except (_ForTheReference, TypeError):  # orjson's own refusals are TypeErrors
        return rfc8785.dumps(_plain(value))


def canonical_part(value: Any) -> Part:
    """A value that stands unchanged in many others: its canonical bytes, made once.

    Raises:
        ValueError: as `canonical`.
    """
    return orjson.Fragment(canonical(value))


def canonical_prepared(value: Any) -> bytes:
    """Canonical JSON of a value that is known to be plain, without looking at all of it.

    Args:
        value: dicts with ASCII keys and lists, of None, bool, int, str and canonical parts; a
            float must be in a part, for it may have another form.

    Raises:
        ValueError: as `canonical`.
    """
    try:
        return orjson.dumps(value, option=_OPTIONS)
    except TypeError:
        return canonical(value)


def _plain(value: Any) -> Any:
    """The same value without canonical parts, which the reference does not know."""
    if isinstance(value, orjson.Fragment):
        return orjson.loads(orjson.dumps(value))
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value


def _prepared(value: Any) -> Any:
    """The same JSON value in a form of which orjson writes the canonical bytes."""
    kind = type(value)
    if kind is str or kind is int or kind is bool or value is None:
        return value
    if kind is dict:
        for key in value:
            # RFC 8785 sorts keys by UTF-16 unit, orjson by code point: the same for ASCII.
            if type(key) is not str or not key.isascii():
                raise _ForTheReference
        return {key: item if type(item) is str else _prepared(item) for key, item in value.items()}
    if kind is list or kind is tuple:
        return [item if type(item) is str else _prepared(item) for item in value]
    if kind is float:
        return _prepared_float(value)
    if kind is orjson.Fragment:
        return value
    raise _ForTheReference


def _prepared_float(value: float) -> int | float | orjson.Fragment:
    magnitude = abs(value)
    if magnitude <= _LARGEST_INTEGER:
        if value.is_integer():
            return int(value)  # 1.0 is "1" and -0.0 is "0"
        if magnitude >= _SMALLEST_DECIMAL:
            return value
    return orjson.Fragment(rfc8785.dumps(value))

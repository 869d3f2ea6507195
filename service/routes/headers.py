"""What request headers say of a request's identity. Light: BentoML's supervisor imports it."""

from __future__ import annotations

import re
from collections.abc import Mapping

import uuid_utils

from service import tracing

#: Header fields as ASGI has them.
Fields = list[tuple[bytes, bytes]]
_FORM = b"application/x-www-form-urlencoded"
_REQUEST_ID = re.compile(r"[\x21-\x7e]{1,128}")
#: Version 00 has four fields, later ones may have more; ff is forbidden, as are ids of zeros.
_TRACEPARENT = re.compile(
    rb"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-.*)?"
)


def request_id(headers: Mapping[bytes, bytes]) -> str:
    """The caller's `X-Request-Id` if it is one printable word, else a new one."""
    given = headers.get(b"x-request-id")
    if given is not None and _REQUEST_ID.fullmatch(word := given.decode("latin-1")):
        return word
    return str(uuid_utils.uuid7())


def with_json_named(headers: Fields) -> Fields:
    """Header fields in which a body that `curl -d` calls a form is called JSON.

    No route takes a form: whoever sends one by that name has typed JSON and no header.
    """
    return [
        (name, b"application/json")
        if name == b"content-type" and value.partition(b";")[0].strip().lower() == _FORM
        else (name, value)
        for name, value in headers
    ]


def trace_id(headers: Mapping[bytes, bytes]) -> str | None:
    """The trace id of the request: of its `traceparent`, or ours where requests are traced.

    A header that W3C Trace Context calls invalid names no trace (Level 2, section 3.2.2).
    """
    if (trace := tracing.current()) is not None:
        return trace.trace_id
    given = headers.get(b"traceparent")
    if given is None or not (said := _TRACEPARENT.fullmatch(given)):
        return None
    return None if said[1] == b"00" and said[3] else said[2].decode("ascii")

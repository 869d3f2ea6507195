"""What request headers say of a request's identity. Light: BentoML's supervisor imports it."""

from __future__ import annotations

import re
from collections.abc import Mapping

import uuid_utils

_REQUEST_ID = re.compile(r"[\x21-\x7e]{1,128}")


def request_id(headers: Mapping[bytes, bytes]) -> str:
    """The caller's `X-Request-Id` if it is one printable word, else a new one."""
    given = headers.get(b"x-request-id")
    if given is not None and _REQUEST_ID.fullmatch(word := given.decode("latin-1")):
        return word
    return str(uuid_utils.uuid7())


def trace_id(headers: Mapping[bytes, bytes]) -> str | None:
    """The trace id of a W3C `traceparent` header, when it is one."""
    given = headers.get(b"traceparent")
    if given is None:
        return None
    parts = given.decode("latin-1").split("-")
    return parts[1] if len(parts) >= 4 and len(parts[1]) == 32 else None

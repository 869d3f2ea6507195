"""What answers of the hot routes have in common: the record they name, and compression."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from service.inference.predictor import Prediction
from service.protocol.compression import ENCODINGS, SMALLEST, deflated
from service.routes.negotiation import preferred_encoding

RECORD_HEADER = "glassline-record-id"


def record_said(record_id: str | None) -> tuple[dict[str, str], dict[str, str]]:
    """Headers and parameters that name an answer's record; empty when it has none."""
    if record_id is None:
        return {}, {}
    return {RECORD_HEADER: record_id}, {"record_id": record_id}


def said_of(prediction: Prediction) -> tuple[dict[str, str], dict[str, Any]]:
    """Headers and parameters of an answer: its record, and that it was late where it was."""
    headers, parameters = record_said(prediction.record_id)
    if prediction.late is None:
        return headers, parameters
    return headers, {**parameters, **prediction.late.said()}


def compressed(asked: Mapping[bytes, bytes], body: bytes, headers: dict[str, str]) -> bytes:
    """The body as the client takes it, where that is worth it; says so in `headers`.

    Args:
        asked: the request's headers, names in lower case.
        body: as it is.
        headers: of the answer.
    """
    if len(body) < SMALLEST:
        return body
    given = asked.get(b"accept-encoding", b"").decode("latin-1")
    encoding = preferred_encoding(given, ENCODINGS)
    if encoding is None:
        return body
    headers["content-encoding"] = encoding
    return deflated(body, encoding)

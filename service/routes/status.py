"""Which HTTP status each error of the tree becomes, and the body that carries it."""

from __future__ import annotations

import logging

import orjson

from service import errors, metrics, tracing
from service.routes.reply import Reply

_log = logging.getLogger("glassline.http")

#: The first class that an error is an instance of decides: special before general.
STATUS: tuple[tuple[type[errors.GlasslineError], int], ...] = (
    (errors.TooLarge, 413),
    (errors.UnsupportedMediaType, 415),
    (errors.NotAcceptable, 406),
    (errors.SlowBody, 408),
    (errors.TooManyHeaders, 431),
    (errors.InvalidRequest, 400),
    (errors.Unauthenticated, 401),
    (errors.Forbidden, 403),
    (errors.NotFound, 404),
    (errors.Conflict, 409),
    (errors.Overloaded, 429),
    (errors.DeadlineExceeded, 504),
    (errors.Unavailable, 503),
)


def status_of(error: errors.GlasslineError) -> int:
    """HTTP status of an error; 500 only for what no caller can cause."""
    return next((status for kind, status in STATUS if isinstance(error, kind)), 500)


def error_headers(error: errors.GlasslineError) -> dict[str, str]:
    """Headers that an error adds: when to try again, how to prove who one is (RFC 9110)."""
    if isinstance(error, errors.Unauthenticated):
        return {"www-authenticate": 'Bearer realm="glassline"'}
    if isinstance(error, errors.Overloaded):
        return {"retry-after": str(error.retry_after_s)}
    if isinstance(error, errors.Unavailable) and not isinstance(error, errors.CorruptModel):
        return {"retry-after": "5"}
    return {}


def error_body(message: str) -> bytes:
    """The Open Inference Protocol's error object."""
    return orjson.dumps({"error": message})


def refused(error: errors.GlasslineError) -> Reply:
    """The reply that an error becomes; counts it, and logs what no caller can cause."""
    status = status_of(error)
    if status >= 500 and not isinstance(error, (errors.Unavailable, errors.DeadlineExceeded)):
        _log.error("unmapped error %s: %s", type(error).__name__, error)
    metrics.REQUESTS_REFUSED.labels(type(error).__name__).inc()
    if (trace := tracing.current()) is not None:
        trace.error = type(error).__name__
    return Reply(error_body(str(error)), headers=error_headers(error), status=status)

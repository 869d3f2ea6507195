"""Whether requests are traced, and the hooks by which they are.

Tracing is on where the environment names a collector in OpenTelemetry's own words
(`OTEL_EXPORTER_OTLP_ENDPOINT` or `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`) and the extra `otel` is
installed. Where it is off, `tracer` is None and every hook is that one test.
"""

from __future__ import annotations

import importlib.util
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final

from service.errors import GlasslineError, Unavailable
from service.spans import Trace, Tracer

#: What says where the collector is; the first that is set is used.
ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROTOCOLS: Final = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_EXPORTER: Final = "opentelemetry.exporter.otlp.proto.http"
#: How paths of data-plane requests end; no other request is traced.
_TRACED: Final = ("/infer", "/explain", ":predict", ":explain")

Observe = Callable[[float], None]
#: of the process; None where tracing is off
tracer: Tracer | None = None
_current: ContextVar[Trace | None] = ContextVar("glassline-trace", default=None)


def check() -> bool:
    """Whether the environment asks for tracing.

    Raises:
        Unavailable: it does, and tracing cannot be had as it says.
    """
    said = os.environ.get
    if said("OTEL_SDK_DISABLED", "").lower() == "true" or said("OTEL_TRACES_EXPORTER") == "none":
        return False
    named = next((name for name in ENDPOINTS if said(name)), None)
    if named is None:
        return False
    if (kind := said("OTEL_TRACES_EXPORTER") or "otlp") != "otlp":
        raise Unavailable(f"OTEL_TRACES_EXPORTER: got {kind!r}, wanted 'otlp' or 'none'.")
    protocol = next((said(name) for name in _PROTOCOLS if said(name)), "http/protobuf")
    if protocol != "http/protobuf":
        raise Unavailable(
            f"OTEL_EXPORTER_OTLP_PROTOCOL: got {protocol!r}, wanted 'http/protobuf' (port 4318)."
        )
    try:
        installed = importlib.util.find_spec(_EXPORTER) is not None
    except ImportError:
        installed = False
    if not installed:
        raise Unavailable(
            f"{named} asks for traces, and what sends them is not installed. Install it: "
            f"pip install 'glassline[otel]'. Or unset {named}."
        )
    return True


def start(service: str) -> None:
    """Begin to trace, if the environment asks for it.

    Args:
        service: `service.name` unless OTEL_SERVICE_NAME or OTEL_RESOURCE_ATTRIBUTES has one.

    Raises:
        Unavailable: see `check`.
    """
    global tracer
    if tracer is None and check():
        tracer = Tracer(service)


def stop() -> None:
    """Send what waits, for a few seconds at most, and trace no more."""
    global tracer
    stopped, tracer = tracer, None
    if stopped is not None:
        stopped.close()


def current() -> Trace | None:
    """The trace of the request that runs here; None where tracing is off."""
    return None if tracer is None else _current.get()


def stage(name: str, observe: Observe) -> Observe:
    """`observe`, which takes a stage's seconds at its end, with the stage noted in the trace.

    Where tracing is off, that is `observe` itself.
    """
    if tracer is None:
        return observe

    def noting(seconds: float) -> None:
        observe(seconds)
        if (trace := _current.get()) is not None:
            trace.note(name, time.perf_counter() - seconds, time.perf_counter())

    return noting


def rows(observe: Observe) -> Observe:
    """`observe`, which takes the rows of a run, with the rows noted in the trace."""
    if tracer is None:
        return observe

    def noting(count: float) -> None:
        observe(count)
        if (trace := _current.get()) is not None:
            trace.ran(int(count), int(count))

    return noting


def carrier() -> dict[str, str]:
    """What takes the trace to another process: `traceparent` and `tracestate`, or nothing."""
    trace = current()
    return {} if trace is None else trace.carrier()


@contextmanager
def continued(name: str, given: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    """A span of work that another process asked for; what is put into the dict goes on it.

    Args:
        name: of the span.
        given: the asking process's `carrier()`.
    """
    attributes: dict[str, Any] = {}
    if tracer is None or not given:
        yield attributes
        return
    span = tracer.begun(name, given, attributes)
    try:
        yield attributes
    except GlasslineError as error:
        attributes["error.type"] = type(error).__name__
        raise
    finally:
        span.set_attributes(attributes)
        span.end()


def application(scope: Mapping[str, Any], send: Any) -> Any:
    """Begin the trace of an ASGI request, in the task that answers it.

    Returns:
        `send`, which puts `traceresponse` on the response.
    """
    path: str = scope["path"]
    if tracer is None or not path.endswith(_TRACED):
        return send
    trace = tracer.request(
        path,
        dict(scope["headers"]),
        scope.get("client"),
        scope["method"],
        scope.get("scheme", "http"),
        scope.get("http_version", "1.1"),
    )
    _current.set(trace)
    stamp = (b"traceresponse", trace.response.encode("ascii"))

    async def stamped(message: Any) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message.get("headers", ()), stamp]}
        await send(message)

    return stamped


def lane(
    take: Callable[..., bool],
    url: bytes,
    fields: list[tuple[bytes, bytes]],
    body: bytes,
    client: tuple[str, int] | None,
    respond: Callable[..., None],
) -> bool:
    """Offer a request to `take`, see `FastLane.take`, within a trace of its own."""
    assert tracer is not None
    trace = tracer.request(url.decode("latin-1"), dict(fields), client)

    def stamped(reply: Any, request_id: str) -> None:
        reply.headers["traceresponse"] = trace.response
        respond(reply, request_id)

    # What is awaited later remembers the trace: asyncio's callbacks keep their context.
    token = _current.set(trace)
    try:
        return take(url, fields, body, client, stamped)
    finally:
        _current.reset(token)


def end(method: str, route: str, status: int, model: tuple[str, str] | None) -> None:
    """The request that runs here is over; see `Trace.end`."""
    if (trace := current()) is not None:
        trace.end(method, route, status, model)

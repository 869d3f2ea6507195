"""Spans as OpenTelemetry has them: of requests, of their stages, of work for another process.

Sources: W3C Trace Context (`traceparent` and `tracestate` of requests); its Level 3 editor's draft
(`traceresponse`); OpenTelemetry's semantic conventions for HTTP server spans. Levels 1 and 2 define
no response header, and `traceparent` on a response has no meaning in any of them.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from service import __version__

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.trace import Span

#: A stopping process waits so long for a collector to take its last spans.
FLUSH_SECONDS: Final = 3.0
Headers = Mapping[bytes, bytes]


class Trace:
    """One request's server span, and what is known for its children."""

    __slots__ = ("_begun", "_clock", "_stages", "_tracer", "error", "span")

    def __init__(self, owner: Tracer, span: Span, begun: int) -> None:
        self._tracer = owner
        self._begun = begun
        self._clock = time.perf_counter()
        #: name, begin and end on the performance counter, attributes
        self._stages: list[tuple[str, float, float, dict[str, Any]]] = []
        self.span = span
        #: class of the error that refused the request
        self.error = ""

    @property
    def trace_id(self) -> str:
        """32 hexadecimal digits."""
        return f"{self.span.get_span_context().trace_id:032x}"

    @property
    def response(self) -> str:
        """Value of the `traceresponse` header: this trace, our span, whether it is sampled."""
        of = self.span.get_span_context()
        return f"00-{of.trace_id:032x}-{of.span_id:016x}-{of.trace_flags:02x}"

    def carrier(self) -> dict[str, str]:
        """What takes the trace to another process: `traceparent` and `tracestate`."""
        return self._tracer.carried(self.span)

    def note(self, name: str, begin: float, end: float) -> None:
        """A stage is over; times are of `time.perf_counter`, in seconds."""
        if self.span.is_recording():
            self._stages.append((name, begin, end, {}))

    def ran(self, own: int, batch: int) -> None:
        """The graph, the last stage noted, ran on so many rows, `own` of them this request's."""
        self.span.set_attribute("glassline.rows", own)
        if self._stages:
            self._stages[-1][3]["glassline.batch.rows"] = batch

    def batched(self, since: float, started: float, own: int, batch: int) -> None:
        """The request waited from `since`, and ran with others from `started` (0 = never) on."""
        now = time.perf_counter()
        self.note("queue", since, started or now)
        if started:
            self.note("infer", started, now)
            self.ran(own, batch)

    def end(self, method: str, route: str, status: int, model: tuple[str, str] | None) -> None:
        """The request is over: end its span, and make the children's."""
        end = self._at(time.perf_counter())
        span = self.span
        if not span.is_recording():
            return
        for name, begin, over, attributes in self._stages:
            self._tracer.child(span, name, self._at(begin), self._at(over), attributes)
        if route != "-":
            span.update_name(f"{method} {route}")
            span.set_attribute("http.route", route)
        if model is not None:
            span.set_attributes(
                {"glassline.model.name": model[0], "glassline.model.version": model[1]}
            )
        if status == 499:  # no status: nobody was there to read one
            span.set_attribute("error.type", "ClientGone")
        else:
            span.set_attribute("http.response.status_code", status)
            if status >= 400:
                span.set_attribute("error.type", self.error or str(status))
        if status >= 500:
            self._tracer.failed(span)
        span.end(end)

    def _at(self, clock: float) -> int:
        """Nanoseconds since 1970."""
        return self._begun + int((clock - self._clock) * 1e9)


class Tracer:
    """Makes spans and has them sent to the collector, in a thread of OpenTelemetry's.

    Sampling, batching, headers, compression and certificates are as OpenTelemetry's own
    variables say: OTEL_TRACES_SAMPLER, OTEL_BSP_*, OTEL_EXPORTER_OTLP_*. By default a request is
    sampled unless its `traceparent` says that it is not.

    Args:
        service: `service.name` unless OTEL_SERVICE_NAME or OTEL_RESOURCE_ATTRIBUTES has one.
    """

    def __init__(self, service: str) -> None:
        from opentelemetry import trace
        from opentelemetry.context import Context
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import OTELResourceDetector, Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.trace.propagation import tracecontext

        own = {
            "service.name": service,
            "service.version": __version__,
            "process.pid": os.getpid(),
            **OTELResourceDetector().detect().attributes,
        }
        self._api = trace
        self._empty = Context()
        self._context = tracecontext.TraceContextTextMapPropagator()
        # Ours alone, not the process's: BentoML's instrumentation stays as it is.
        self._provider = TracerProvider(resource=Resource.create(own), shutdown_on_exit=False)
        self._exporter = OTLPSpanExporter()
        self._provider.add_span_processor(BatchSpanProcessor(self._exporter))
        self._spans = self._provider.get_tracer("glassline", __version__)

    def request(
        self,
        path: str,
        headers: Headers,
        client: tuple[str, int] | None,
        method: str = "POST",
        scheme: str = "http",
        version: str = "1.1",
    ) -> Trace:
        """The trace of a request that begins."""
        begun = time.time_ns()
        attributes: dict[str, Any] = {
            "http.request.method": method,
            "url.scheme": scheme,
            "url.path": path,
            "network.protocol.version": version,
        }
        if client:
            attributes["client.address"] = str(client[0])
        if host := headers.get(b"host", b"").decode("latin-1"):
            name, colon, port = host.rpartition(":")
            if colon and port.isdigit():
                attributes["server.port"] = int(port)
            attributes["server.address"] = name if colon and port.isdigit() else host
        if agent := headers.get(b"user-agent"):
            attributes["user_agent.original"] = agent.decode("latin-1")
        given = {
            name.decode(): headers[name].decode("latin-1")
            for name in (b"traceparent", b"tracestate")
            if name in headers
        }
        span = self._spans.start_span(
            method,
            self._parent(given),
            self._api.SpanKind.SERVER,
            attributes,
            start_time=begun,
        )
        return Trace(self, span, begun)

    def begun(self, name: str, given: Mapping[str, str], attributes: dict[str, Any]) -> Span:
        """A span of work that another process asked for."""
        kind = self._api.SpanKind.SERVER
        return self._spans.start_span(name, self._parent(given), kind, attributes)

    def child(
        self, parent: Span, name: str, begin: int, end: int, attributes: dict[str, Any]
    ) -> None:
        """A stage of a request; times in nanoseconds since 1970."""
        context = self._api.set_span_in_context(parent, self._empty)
        span = self._spans.start_span(name, context, attributes=attributes, start_time=begin)
        span.end(end)

    def carried(self, span: Span) -> dict[str, str]:
        """What takes a span to another process."""
        said: dict[str, str] = {}
        self._context.inject(said, self._api.set_span_in_context(span, self._empty))
        return said

    def failed(self, span: Span) -> None:
        """Mark a span as failed by our fault."""
        span.set_status(self._api.StatusCode.ERROR)

    def _parent(self, given: Mapping[str, str]) -> Context:
        return self._context.extract(given, self._empty) if given else self._empty

    def close(self) -> None:
        """Send what waits; a collector that does not answer keeps nobody from stopping."""
        shutdown: Callable[[], None] = self._provider.shutdown
        last = threading.Thread(target=shutdown, daemon=True)
        last.start()
        last.join(FLUSH_SECONDS)
        if last.is_alive():
            exported: Callable[[], None] = self._exporter.shutdown
            exported()  # ends its waiting between two tries

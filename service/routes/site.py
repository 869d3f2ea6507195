"""All routes over one worker's state: who may, which handler, errors to responses."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from service import metrics
from service.access import Scope as AccessScope
from service.audit.recorder import RequestContext
from service.errors import GlasslineError, Overloaded, TooManyHeaders, Unavailable
from service.routes.control import control_app
from service.routes.data_plane import DataPlane
from service.routes.exchange import Exchange
from service.routes.kserve_v1 import KServeV1
from service.routes.paths import HotRoute, hot_route, scope_of
from service.routes.status import error_headers, status_of
from service.serving import Serving

if TYPE_CHECKING:
    from starlette.types import Message

_log = logging.getLogger("glassline.http")
#: What a request turned out to be: its route template, and its model if that is a known one.
Label = tuple[str, tuple[str, str] | None]


class Site:
    """All routes over one worker's state.

    Args:
        serving: the worker's state.
    """

    def __init__(self, serving: Serving) -> None:
        self._serving = serving
        self._settings = serving.settings
        self._plane = DataPlane(serving)
        self._v1 = KServeV1(serving, self._plane)
        self._control = control_app(serving)
        self._in_flight = 0
        self._handlers = {
            "infer": self._plane.infer,
            "explain": self._plane.explain,
            "v1:predict": self._v1.predict,
            "v1:explain": self._v1.explain,
        }

    async def answer(self, exchange: Exchange) -> Label:
        """Answer one request; errors of the tree become responses here."""
        route = hot_route(exchange.path)
        label: Label = (route.template if route else "-", None)
        exchange.closing = self._serving.draining
        self._in_flight += 1
        try:
            self._check_limits(exchange)
            if route and exchange.method != "POST":
                message = f"{exchange.method} is not allowed here; send a POST. See GET /docs."
                await exchange.send_error(405, message, {"allow": "POST"})
                return label
            if route is None:
                return (await self._controlled(exchange), None)
            caller = self._caller(exchange, route.scope)
            if route.action == "explain-record":
                await self._plane.explain_record(exchange, route.subject)
            else:
                label = await self._hot(exchange, route, caller)
        except GlasslineError as error:
            await self._refuse(exchange, error)
        finally:
            self._in_flight -= 1
        return (label[0], exchange.model)

    async def _hot(self, exchange: Exchange, route: HotRoute, caller: str) -> Label:
        model = await self._serving.model(route.subject, route.version)
        exchange.model = (model.manifest.name, model.manifest.version)
        context = RequestContext(exchange.request_id, caller, _trace_id(exchange))
        await self._handlers[route.action](exchange, model, context)
        return (route.template, exchange.model)

    def _check_limits(self, exchange: Exchange) -> None:
        count = len(exchange.scope["headers"])
        if count > self._settings.max_headers:
            raise TooManyHeaders(
                f"request headers: got {count} fields, at most {self._settings.max_headers} are "
                "accepted. Send fewer, or raise GLASSLINE_MAX_HEADERS."
            )
        if self._in_flight > self._settings.max_concurrency and scope_of(exchange.path):
            raise Overloaded(
                f"{self._settings.max_concurrency} requests are in flight. Try again, or raise "
                "GLASSLINE_MAX_CONCURRENCY or GLASSLINE_WORKERS."
            )

    def _caller(self, exchange: Exchange, scope: AccessScope) -> str:
        client = exchange.scope.get("client")
        address = str(client[0]) if client else "local"
        authorization = exchange.header(b"authorization")
        if authorization[:7].lower() == "bearer ":
            presented: str | None = authorization[7:].strip()
        else:
            presented = exchange.header(b"x-api-key") or None
        return self._serving.keyring.caller(presented, scope, address)

    async def _refuse(self, exchange: Exchange, error: GlasslineError) -> None:
        status = status_of(error)
        if status >= 500 and not isinstance(error, Unavailable):
            _log.error("unmapped error %s: %s", type(error).__name__, error)
        metrics.REQUESTS_REFUSED.labels(type(error).__name__).inc()
        await exchange.send_error(status, str(error), error_headers(error))

    async def _controlled(self, exchange: Exchange) -> str:
        scope = scope_of(exchange.path)
        if scope is not None:
            self._caller(exchange, scope)

        async def observed(message: Message) -> None:
            if message["type"] == "http.response.start":
                exchange.status = message["status"]
            await exchange.forward(message)

        await self._control(exchange.scope, exchange.receive, observed)
        return str(getattr(exchange.scope.get("route"), "path", "-"))


def _trace_id(exchange: Exchange) -> str | None:
    """The trace id of a W3C `traceparent` header, when it is one."""
    given = exchange.headers.get(b"traceparent")
    if given is None:
        return None
    parts = given.decode("latin-1").split("-")
    return parts[1] if len(parts) >= 4 and len(parts[1]) == 32 else None

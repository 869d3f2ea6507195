"""All routes over one worker's state: who may, which handler, errors to responses."""

from __future__ import annotations

from typing import TYPE_CHECKING

from service.access import Scope as AccessScope
from service.audit.recorder import RequestContext
from service.errors import GlasslineError
from service.routes.control import control_app
from service.routes.data_plane import DataPlane
from service.routes.exchange import Exchange
from service.routes.fast_lane import FastLane
from service.routes.gate import Gate
from service.routes.headers import trace_id, with_json_named
from service.routes.kserve_v1 import KServeV1
from service.routes.paths import HotRoute, hot_route, scope_of
from service.routes.similar import Similar
from service.routes.status import refused
from service.routes.streams import StreamPlane
from service.serving import Serving

if TYPE_CHECKING:
    from starlette.types import Message

#: What a request turned out to be: its route template, and its model if that is a known one.
Label = tuple[str, tuple[str, str] | None]


class Site:
    """All routes over one worker's state.

    Args:
        serving: the worker's state.
    """

    def __init__(self, serving: Serving) -> None:
        self._serving = serving
        self.gate = Gate(serving)
        self.lane = FastLane(serving, self.gate)
        self._plane = DataPlane(serving)
        self._v1 = KServeV1(serving, self._plane)
        self._streams = StreamPlane(serving)
        self._control = control_app(serving)
        self._handlers = {
            "infer": self._plane.infer,
            "act": self._plane.act,
            "explain": self._plane.explain,
            "v1:predict": self._v1.predict,
            "v1:explain": self._v1.explain,
            "similar": Similar(serving).answer,
        }

    async def answer(self, exchange: Exchange) -> Label:
        """Answer one request; errors of the tree become responses here."""
        route = hot_route(exchange.path)
        label: Label = (route.template if route else "-", None)
        exchange.closing = self._serving.draining
        self.gate.in_flight += 1
        try:
            self.gate.check_limits(len(exchange.scope["headers"]), exchange.path)
            if route and exchange.method != "POST" and route.only_post:
                message = f"{exchange.method} is not allowed here; send a POST. See GET /docs."
                await exchange.send_error(405, message, {"allow": "POST"})
                return label
            if route is None or exchange.method != "POST":
                return (await self._controlled(exchange), None)
            caller = self._caller(exchange, route.scope)
            if route.action == "streams":
                about = (route.subject, route.version, route.stream)
                await self._streams.rows(exchange, *about)
            elif route.action == "explain-record":
                await self._plane.explain_record(exchange, route.subject, caller)
            else:
                label = await self._hot(exchange, route, caller)
        except GlasslineError as error:
            await exchange.reply(refused(error))
        finally:
            self.gate.in_flight -= 1
        return (label[0], exchange.model)

    async def _hot(self, exchange: Exchange, route: HotRoute, caller: str) -> Label:
        model = await self._serving.model(route.subject, route.version)
        exchange.model = (model.manifest.name, model.manifest.version)
        context = RequestContext(
            exchange.request_id, caller, trace_id(exchange.headers), arrived=exchange.arrived
        )
        await self._handlers[route.action](exchange, model, context)
        return (route.template, exchange.model)

    def _caller(self, exchange: Exchange, scope: AccessScope) -> str:
        return self.gate.caller(exchange.headers, exchange.scope.get("client"), scope)

    async def _controlled(self, exchange: Exchange) -> str:
        scope = scope_of(exchange.path, exchange.method)
        if scope is not None:
            exchange.scope.setdefault("state", {})["caller"] = self._caller(exchange, scope)

        async def observed(message: Message) -> None:
            if message["type"] == "http.response.start":
                exchange.status = message["status"]
            await exchange.forward(message)

        exchange.scope["headers"] = with_json_named(exchange.scope["headers"])
        await self._control(exchange.scope, exchange.receive, observed)
        return str(getattr(exchange.scope.get("route"), "path", "-"))

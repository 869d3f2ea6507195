"""The ASGI application of a worker: dispatch, errors, and one metric for every request."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Awaitable
from typing import TYPE_CHECKING

import uuid_utils

from service import metrics
from service.audit.recorder import RequestContext
from service.errors import GlasslineError, Unavailable
from service.routes.control import control_app
from service.routes.data_plane import DataPlane, ModelRoute, model_route
from service.routes.exchange import ClientGone, Exchange
from service.routes.status import error_headers, status_of
from service.serving import Serving

if TYPE_CHECKING:
    from fastapi import FastAPI
    from starlette.types import Message, Receive, Scope, Send

_log = logging.getLogger("glassline.http")
_RECORD_EXPLAIN = re.compile(r"/v2/records/([^/]+)/explain")
_REQUEST_ID = re.compile(r"[\x21-\x7e]{1,128}")


class Application:
    """Answers all HTTP of a worker. Never raises: BentoML would hang the request.

    It exists before the worker's state does, because BentoML mounts it at import time;
    `open` and `close` tie it to the state.
    """

    def __init__(self) -> None:
        self._serving: Serving | None = None
        self._plane: DataPlane | None = None
        self._control: FastAPI | None = None

    def open(self, serving: Serving) -> None:
        """Begin to answer from this state."""
        self._plane = DataPlane(serving)
        self._control = control_app(serving)
        self._serving = serving

    def close(self) -> None:
        """Answer 503 from here on."""
        self._serving = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            return
        start = time.perf_counter()
        request_id = _request_id(dict(scope["headers"]))
        exchange = Exchange(scope, receive, _stamped(send, request_id))
        template, model = "-", None
        try:
            template, model = await self._answer(exchange, request_id, receive)
        except ClientGone:
            exchange.status = 499
        except Exception:
            _log.exception("request %s failed: %s %s", request_id, exchange.method, exchange.path)
            await self._send_failure(exchange, request_id)
        metrics.observe_request(
            exchange.method, template, exchange.status, time.perf_counter() - start, model
        )

    async def _answer(
        self, exchange: Exchange, request_id: str, receive: Receive
    ) -> tuple[str, tuple[str, str] | None]:
        """Answer, and say which route template and which known model it was."""
        if self._serving is None or self._plane is None or self._control is None:
            await exchange.send_error(503, "starting or stopping; try again in a moment.")
            return "-", None
        if exchange.method == "POST":
            if route := model_route(exchange.path):
                return await self._hot(exchange, route, request_id)
            if match := _RECORD_EXPLAIN.fullmatch(exchange.path):
                template = "/v2/records/{id}/explain"
                await self._sending_errors(exchange, self._plane.explain_record(exchange, match[1]))
                return template, None
        return await self._controlled(exchange, self._control, receive), None

    async def _hot(
        self, exchange: Exchange, route: ModelRoute, request_id: str
    ) -> tuple[str, tuple[str, str] | None]:
        assert self._serving is not None
        assert self._plane is not None
        try:
            model = await self._serving.model(route.model, route.version)
        except GlasslineError as error:
            await self._send_refusal(exchange, error)
            return route.template, None
        context = RequestContext(request_id, _caller(exchange.scope), _trace_id(exchange))
        handler = self._plane.infer if route.action == "infer" else self._plane.explain
        await self._sending_errors(exchange, handler(exchange, model, context))
        return route.template, (model.manifest.name, model.manifest.version)

    async def _sending_errors(self, exchange: Exchange, answering: Awaitable[None]) -> None:
        try:
            await answering
        except GlasslineError as error:
            await self._send_refusal(exchange, error)

    async def _send_refusal(self, exchange: Exchange, error: GlasslineError) -> None:
        status = status_of(error)
        if status >= 500 and not isinstance(error, Unavailable):
            _log.error("unmapped error %s: %s", type(error).__name__, error)
        await exchange.send_error(status, str(error), error_headers(error))

    async def _send_failure(self, exchange: Exchange, request_id: str) -> None:
        if exchange.status:
            return  # the response has begun; closing the connection is all that is left
        try:
            await exchange.send_error(
                500, f"internal error; tell the operator request id {request_id}."
            )
        except Exception:
            _log.exception("request %s: the failure could not be sent", request_id)

    async def _controlled(self, exchange: Exchange, control: FastAPI, receive: Receive) -> str:
        async def observed(message: Message) -> None:
            if message["type"] == "http.response.start":
                exchange.status = message["status"]
            await exchange.forward(message)

        await control(exchange.scope, receive, observed)
        route = exchange.scope.get("route")
        return str(getattr(route, "path", "-"))


def _request_id(headers: dict[bytes, bytes]) -> str:
    """The caller's `X-Request-Id` if it is one printable word, else a new one."""
    given = headers.get(b"x-request-id", b"").decode("latin-1")
    return given if _REQUEST_ID.fullmatch(given) else str(uuid_utils.uuid7())


def _stamped(send: Send, request_id: str) -> Send:
    """`send`, with the request id on the response."""
    stamp = (b"x-request-id", request_id.encode("ascii"))

    async def stamped(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message.get("headers", ()), stamp]}
        await send(message)

    return stamped


def _caller(scope: Scope) -> str:
    """The peer's address: who asked, until there are API keys."""
    client = scope.get("client")
    return str(client[0]) if client else "local"


def _trace_id(exchange: Exchange) -> str | None:
    """The trace id of a W3C `traceparent` header, when it is one."""
    parts = exchange.header(b"traceparent").split("-")
    return parts[1] if len(parts) >= 4 and len(parts[1]) == 32 else None

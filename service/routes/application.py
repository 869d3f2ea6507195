"""The ASGI application of a worker: open or not yet, never raising, one metric a request."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from service import metrics, tracing
from service.routes.exchange import ClientGone, Exchange
from service.routes.headers import request_id

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import Receive, Scope, Send

    from service.routes.reply import Reply
    from service.routes.site import Label, Site
    from service.serving import Serving

_log = logging.getLogger("glassline.http")


class Application:
    """Answers all HTTP of a worker. Never raises: BentoML would hang the request.

    It exists before the worker's state does, because BentoML mounts it at import time;
    `open` and `close` tie it to the state.
    """

    def __init__(self) -> None:
        self._site: Site | None = None

    def open(self, serving: Serving) -> None:
        """Begin to answer from this state."""
        # Imported here: BentoML's supervisor imports this module and answers nothing.
        from service.routes.site import Site

        self._site = Site(serving)

    def close(self) -> None:
        """Answer 503 from here on."""
        self._site = None

    def lane(
        self,
        url: bytes,
        fields: list[tuple[bytes, bytes]],
        body: bytes,
        client: tuple[str, int] | None,
        respond: Callable[[Reply, str], None],
    ) -> bool:
        """Answer a whole POST at once if that can be done; see `FastLane.take`."""
        site = self._site
        if site is not None and tracing.tracer is not None:
            return tracing.lane(site.lane.take, url, fields, body, client, respond)
        return site is not None and site.lane.take(url, fields, body, client, respond)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            return
        start = time.perf_counter()
        if tracing.tracer is not None:
            send = tracing.application(scope, send)
        exchange = Exchange(scope, receive, send)
        exchange.request_id = request_id(exchange.headers)
        label: Label = ("-", None)
        try:
            if self._site is None:
                await exchange.send_error(503, "starting or stopping; try again in a moment.")
            else:
                label = await self._site.answer(exchange)
        except ClientGone:
            exchange.status = 499
        except Exception:
            _log.exception(
                "request %s failed: %s %s", exchange.request_id, exchange.method, exchange.path
            )
            await self._send_failure(exchange)
        seconds = time.perf_counter() - start
        metrics.observe_request(exchange.method, label[0], exchange.status, seconds, label[1])

    async def _send_failure(self, exchange: Exchange) -> None:
        if exchange.status:
            return  # the response has begun; closing the connection is all that is left
        message = f"internal error; tell the operator request id {exchange.request_id}."
        try:
            await exchange.send_error(500, message)
        except Exception:
            _log.exception("request %s: the failure could not be sent", exchange.request_id)

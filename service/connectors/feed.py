"""Follows the server's alarms (`GET /v2/alarms`, server-sent events) into the outbox.

How far it has read stands on disk beside the letters, in the same transaction.
Source: WHATWG HTML, section 9.2 (server-sent events): `id`, `data`, `Last-Event-ID`.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx
import orjson

from service.connectors import letters
from service.connectors.backoff import Backoff
from service.connectors.ledger import Ledger
from service.connectors.meters import Meters
from service.connectors.outbox import Outbox
from service.errors import Unavailable

_log = logging.getLogger("glassline.bridge")
_MARK = "alarms"


@dataclass
class Event:
    """One server-sent event."""

    id: str = ""
    kind: str = "message"
    data: str = ""


async def events(lines: AsyncIterator[str]) -> AsyncIterator[Event]:
    """Events of a stream's lines; comments and what is unknown are passed over."""
    event = Event()
    data: list[str] = []
    async for line in lines:
        if not line:
            if data:
                event.data = "\n".join(data)
                yield event
            # An id holds for later events too (section 9.2.6).
            event, data = Event(id=event.id), []
            continue
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "id":
            event.id = value
        elif name == "event":
            event.kind = value
        elif name == "data":
            data.append(value)


class AlarmFeed:
    """Turns alarm events into letters.

    Args:
        http: client of the server.
        ledger: knows how far the alarms were read.
        outbox: where letters go.
        meters: where to count.
        prefix: of all topics.
    """

    def __init__(
        self,
        http: httpx.AsyncClient,
        ledger: Ledger,
        outbox: Outbox,
        meters: Meters,
        prefix: str,
    ) -> None:
        self._http, self._ledger, self._outbox = http, ledger, outbox
        self._meters, self._prefix = meters, prefix
        #: what went wrong last; empty when all is well
        self.trouble = ""

    async def run(self) -> None:
        """Follow until cancelled."""
        backoff = Backoff()
        while True:
            try:
                await self._follow(backoff)
                said = "ended"
            except (httpx.HTTPError, Unavailable) as error:
                said = str(error) or type(error).__name__
            if said != self.trouble:
                _log.warning("alarms: %s; following again", said)
            self.trouble = said
            self._meters.connected.labels("alarms").set(0)
            self._meters.retries.labels("alarms").inc()
            await backoff.wait()

    async def _follow(self, backoff: Backoff) -> None:
        last = await self._ledger.mark(_MARK)
        headers = {"accept": "text/event-stream", "last-event-id": last or "0"}
        # Silence is not a fault: a quiet plant has no alarms for days.
        timeout = httpx.Timeout(30.0, read=60.0)
        async with self._http.stream(
            "GET", "/v2/alarms", headers=headers, timeout=timeout
        ) as response:
            if not response.is_success:
                await response.aread()
                raise Unavailable(f"status {response.status_code}: {response.text[:300]}")
            self.trouble = ""
            self._meters.connected.labels("alarms").set(1)
            backoff.reset()
            async for event in events(response.aiter_lines()):
                await self._keep(event)

    async def _keep(self, event: Event) -> None:
        try:
            said: dict[str, Any] = orjson.loads(event.data)
            letter = letters.alarm(event.id, said, self._prefix)
        except (orjson.JSONDecodeError, TypeError):
            _log.warning("alarms: event %s is no JSON object; passed over", event.id)
            return
        await self._outbox.put([letter], mark=(_MARK, event.id))

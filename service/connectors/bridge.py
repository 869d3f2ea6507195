"""The bridge: from the broker into the inbox, from the inbox to the server, and back.

A message is acknowledged once it is in the inbox on disk. It leaves the inbox in the same
transaction that puts what became of it into the outbox. It leaves the outbox when the broker has
acknowledged it. Killed at any point, the next start goes on from there: something may be sent
again, with the same id and the same content, and nothing is lost.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import aiomqtt
import httpx
import orjson

from service.connectors.backoff import Backoff
from service.connectors.config import Config
from service.connectors.feed import AlarmFeed
from service.connectors.forwarder import Forwarder
from service.connectors.intake import Intake
from service.connectors.ledger import Ledger
from service.connectors.letters import Letter
from service.connectors.link import Link, open_link
from service.connectors.meters import Meters
from service.connectors.outbox import Outbox
from service.errors import Unavailable

_log = logging.getLogger("glassline.bridge")
#: Messages that become one transaction, and letters on their way to the broker at a time.
_TOGETHER = 500
_REFUSED_S = 5.0
_METERS_S = 10.0
#: How the last connection ended.
_CLEAN = ("connection ended well", "yes")


class Bridge:
    """All of it; one a process.

    Args:
        config: of the bridge.

    Raises:
        Conflict: another bridge has the inbox.
        Unavailable: the inbox or the port of the metrics cannot be had.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        self._meters = Meters()
        config.store.file.parent.mkdir(parents=True, exist_ok=True)
        self._ledger = Ledger(config.store.file, config.store.remember_days * 86_400)
        self._outbox = Outbox(self._ledger, self._meters)
        key = config.api_key()
        self._http = httpx.AsyncClient(
            base_url=config.server.url.rstrip("/"),
            timeout=config.server.timeout_s,
            headers={"authorization": f"Bearer {key}"} if key else {},
            trust_env=False,
        )
        self._forwarder = Forwarder(config, self._ledger, self._outbox, self._http, self._meters)
        self._feed = AlarmFeed(
            self._http, self._ledger, self._outbox, self._meters, config.publish.prefix
        )
        self._intake = Intake(config, self._ledger, self._outbox, self._meters)
        self._since = datetime.now(UTC)

    async def run(self) -> None:
        """Work until SIGTERM or SIGINT; what was begun is on disk when this returns."""
        if self._config.metrics.port:
            self._meters.serve(self._config.metrics.host, self._config.metrics.port)
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        work = asyncio.create_task(self._work())
        stopping = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait((work, stopping), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (work, stopping):
                task.cancel()
            with suppress(asyncio.CancelledError):
                await work
            await self._http.aclose()
            self._ledger.close()

    async def _work(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._forwarder.run())
            group.create_task(self._count())
            group.create_task(self._connect())
            if self._config.publish.alarms:
                group.create_task(self._feed.run())

    async def _connect(self) -> None:
        """One connection after another."""
        backoff = Backoff()
        said = ""
        while True:
            try:
                await self._session(backoff)
            except* (aiomqtt.MqttError, Unavailable) as errors:
                told = str(first(errors))
                if told != said:
                    _log.warning("broker: %s; connecting again", told)
                said = told
            self._meters.connected.labels("broker").set(0)
            self._meters.retries.labels("broker").inc()
            await backoff.wait()

    async def _session(self, backoff: Backoff) -> None:
        async with open_link(self._config) as link:
            await link.listen(self._config.filters)
            await self._resend()
            self._meters.connected.labels("broker").set(1)
            _log.info("broker: connected to %s", self._config.broker.host)
            backoff.reset()
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(self._receive(link))
                    group.create_task(self._publish(link))
                    group.create_task(self._tell_status(link))
            except asyncio.CancelledError:
                with suppress(aiomqtt.MqttError, Unavailable, TimeoutError):
                    await link.part(self._config.status_topic, await self._status("stopped"))
                    await self._ledger.post((), mark=_CLEAN)
                raise

    async def _resend(self) -> None:
        """After a connection that was lost: the broker may have died before it saved."""
        if await self._ledger.mark(_CLEAN[0]) != _CLEAN[1]:
            self._meters.resent.inc(await self._ledger.again(self._config.broker.resend_s))
        await self._ledger.post((), mark=(_CLEAN[0], "no"))

    async def _receive(self, link: Link) -> None:
        """Messages into the inbox, then acknowledged, as many at a time as there are."""
        incoming = link.messages
        async for first in incoming:
            together = [first]
            while len(incoming) and len(together) < _TOGETHER:
                together.append(await anext(incoming))
            await self._intake.room()
            changed = await self._intake.keep(together)
            for message in together:
                link.acknowledge(message)
            self._forwarder.wake(changed)

    async def _publish(self, link: Link) -> None:
        """The outbox to the broker, in order."""
        while True:
            self._outbox.written.clear()
            waiting = await self._ledger.waiting(_TOGETHER)
            if not waiting:
                await self._outbox.written.wait()
                continue
            tasks = [asyncio.create_task(link.tell(one.topic, one.payload)) for _, one in waiting]
            try:
                await self._settle(waiting, await asyncio.gather(*tasks, return_exceptions=True))
            finally:
                for task in tasks:
                    task.cancel()

    async def _settle(
        self, sent: list[tuple[int, Letter]], outcomes: list[BaseException | None]
    ) -> None:
        """What the broker has acknowledged is done; what it refused is tried again later."""
        both = list(zip(sent, outcomes, strict=True))
        done = [letter for letter, outcome in both if outcome is None]
        await self._ledger.published(number for number, _ in done)
        for _, one in done:
            self._meters.published.labels(one.kind).inc()
        failed = [outcome for outcome in outcomes if outcome is not None]
        for outcome in failed:
            if not isinstance(outcome, Unavailable):
                raise outcome
        if failed:
            _log.warning("%s %d letters wait; trying again", failed[0], len(failed))
            await asyncio.sleep(_REFUSED_S)

    async def _tell_status(self, link: Link) -> None:
        while True:
            status = await self._status("online")
            try:
                await link.tell(self._config.status_topic, status, retain=True)
            except Unavailable as error:  # rows still flow
                _log.warning("%s", error)
            await asyncio.sleep(self._config.publish.status_s)

    async def _status(self, state: str) -> bytes:
        said: dict[str, Any] = {
            "state": state,
            "client_id": self._config.broker.client_id,
            "since": self._since,
            "at": datetime.now(UTC),
            "inbox": self._ledger.inbox,
            "outbox": await self._ledger.outbox(),
            "server": self._forwarder.trouble or "ok",
            "alarms": self._feed.trouble or "ok",
        }
        return orjson.dumps(said, option=orjson.OPT_UTC_Z)

    async def _count(self) -> None:
        """Gauges, and the textfile where one is wanted; a full disk is no reason to end."""
        while True:
            with suppress(Unavailable):
                self._meters.waiting.labels("inbox").set(self._ledger.inbox)
                self._meters.waiting.labels("outbox").set(await self._ledger.outbox())
                if file := self._config.metrics.textfile:
                    self._meters.write(file)
            await asyncio.sleep(_METERS_S)


def first(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    """One of the errors that tasks ended with."""
    error: BaseException = errors
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error

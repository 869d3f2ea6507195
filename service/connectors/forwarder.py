"""Works the inbox off: rows to their streams, answers into the outbox.

A row may be sent twice, where an answer was lost; the stream knows it by its time and answers it
as a duplicate. A stream's messages go one request at a time, in the order in which they came.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import httpx
import orjson

from service.connectors import feedback, letters
from service.connectors.backoff import Backoff
from service.connectors.config import Config
from service.connectors.entries import Arrival
from service.connectors.ledger import Ledger
from service.connectors.meters import Meters
from service.connectors.outbox import Outbox
from service.connectors.payloads import aged, parse
from service.connectors.routes import FEEDBACK, Destination, Routes
from service.errors import InvalidRequest, Unavailable

_log = logging.getLogger("glassline.bridge")
#: Refused for what was sent: no retry will make it right. All else is tried again.
_FINAL = frozenset((400, 404, 406, 409, 413, 415, 422))
_ANSWER = ("model_name", "model_version", "stream", "rows")
_LATE_S = 0.1
_COUNTED = ("accepted", "duplicates", "late")


class _Refused(Exception):
    """The server will never take this."""


@dataclass
class _Batch:
    """Rows of one stream that go as one request.

    Attributes:
        to: their stream.
        is_historical: whether they are told of later.
        rows: as the route takes them.
        finished: messages that are worked off by it.
        begun: the message of which rows remain, and how many are worked off by then.
    """

    to: Destination
    is_historical: bool
    rows: list[dict[str, Any]]
    finished: list[Arrival]
    begun: tuple[Arrival, int] | None = None


class Forwarder:
    """Sends what is in the inbox.

    Args:
        config: of the bridge.
        ledger: where messages wait.
        outbox: where letters go.
        http: client of the server.
        meters: where to count.
    """

    def __init__(
        self,
        config: Config,
        ledger: Ledger,
        outbox: Outbox,
        http: httpx.AsyncClient,
        meters: Meters,
    ) -> None:
        self._config, self._ledger, self._outbox = config, ledger, outbox
        self._http, self._meters = http, meters
        self._routes = Routes(config)
        self._places = asyncio.Semaphore(config.server.concurrency)
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._dirty: set[str] = set()
        #: what the server last said that was no answer; empty when all is well
        self.trouble = ""

    async def run(self) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as self._group:
            self.wake(await self._ledger.keys())
            await asyncio.Event().wait()

    def wake(self, keys: Iterable[str]) -> None:
        """There are messages for these keys."""
        for key in keys:
            self._dirty.add(key)
            if key not in self._tasks:
                self._tasks[key] = self._group.create_task(self._work(key))

    async def _work(self, key: str) -> None:
        """All messages of a key; ends when there is none."""
        backoff = Backoff()
        while key in self._dirty:
            self._dirty.discard(key)
            try:
                while await self._step(key):
                    backoff.reset()
            except (httpx.HTTPError, Unavailable) as error:
                self._dirty.add(key)
                self._trouble(str(error) or type(error).__name__)
                await backoff.wait(getattr(error, "retry_after_s", 0.0))
        del self._tasks[key]

    def _trouble(self, said: str) -> None:
        if said != self.trouble:
            _log.warning("server: %s; trying again", said)
        self.trouble = said
        self._meters.retries.labels("server").inc()
        self._meters.connected.labels("server").set(0)

    def _well(self) -> None:
        if self.trouble:
            _log.info("server: answers again")
        self.trouble = ""
        self._meters.connected.labels("server").set(1)

    async def _step(self, key: str) -> bool:
        """The next messages of a key; False where there is none."""
        async with self._places:
            arrivals = await self._ledger.oldest(key, self._config.server.batch_rows)
            if not arrivals:
                return False
            if key == FEEDBACK:
                await self._give_feedback(arrivals[0])
                return True
            if batch := await self._joined(arrivals):
                await self._send(batch)
            return True

    async def _joined(self, arrivals: list[Arrival]) -> _Batch | None:
        """The first rows that go as one request; what cannot be read becomes a dead letter."""
        batch: _Batch | None = None
        for one in arrivals:
            try:
                to = self._routes.destination(one.topic)
                said = aged(parse(one.payload, to.form.made), to.form.historical_after_s)
            except InvalidRequest as error:
                if batch is not None:
                    break  # its turn comes, after what came before it
                await self._bury(one, str(error))
                continue
            if batch is None:
                batch = _Batch(to, said.is_historical, [], [])
            room = self._config.server.batch_rows - len(batch.rows)
            same = (batch.to.path, batch.is_historical) == (to.path, said.is_historical)
            if not (same and room):
                break
            batch.rows += said.rows[one.done : one.done + room]
            if one.done + room < len(said.rows):
                batch.begun = (one, one.done + room)
                break
            batch.finished.append(one)
        return batch

    async def _send(self, batch: _Batch) -> None:
        """One request; where it is refused, its first message for itself."""
        try:
            answer = await self._ask(batch)
            while answer.get("deadline_missed"):
                # They were taken in; sent again they are answered.
                await asyncio.sleep(_LATE_S)
                answer = await self._ask(batch)
        except _Refused as error:
            arrivals = [*batch.finished, *([batch.begun[0]] if batch.begun else ())]
            if len(arrivals) == 1:
                await self._bury(arrivals[0], str(error))
            elif alone := await self._joined(arrivals[:1]):
                await self._send(alone)
            return
        if missing := [name for name in _ANSWER if name not in answer]:
            raise Unavailable(f"the answer has no '{missing[0]}'; is this a stream's route?")
        for name in _COUNTED:
            self._meters.rows.labels(name).inc(answer.get(name, 0))
        publish = self._config.publish
        made = list(letters.verdicts(answer, publish.prefix)) if publish.verdicts else []
        await self._outbox.put(made, batch.finished, batch.begun)

    async def _ask(self, batch: _Batch) -> dict[str, Any]:
        content = orjson.dumps({"rows": batch.rows, "is_historical": batch.is_historical})
        return await self._posted(batch.to.path, content)

    async def _posted(self, path: str, content: bytes) -> dict[str, Any]:
        """What the server says to a POST.

        Raises:
            _Refused: for good.
            Unavailable: for now, a wrong key among it: that can be put right, and rows wait.
        """
        headers = {"content-type": "application/json"}
        response = await self._http.post(path, content=content, headers=headers)
        if response.is_success:
            return self._understood(response)
        message = f"{_reason(response)} (status {response.status_code})"
        if response.status_code in _FINAL:
            self._well()
            raise _Refused(message)
        raise Unavailable(message)

    def _understood(self, response: httpx.Response) -> dict[str, Any]:
        """The answer, unless somebody else gave it: a proxy, above all."""
        try:
            said: Any = orjson.loads(response.content)
        except orjson.JSONDecodeError:
            said = None
        if not isinstance(said, dict):
            raise Unavailable("the answer is no JSON object; is this Glassline?")
        self._well()
        return said

    async def _give_feedback(self, arrival: Arrival) -> None:
        try:
            path, content = feedback.request(arrival.payload)
            await self._posted(path, content)
        except (InvalidRequest, _Refused) as error:
            await self._bury(arrival, str(error))
            return
        await self._outbox.put((), [arrival])

    async def _bury(self, arrival: Arrival, reason: str) -> None:
        self._meters.messages.labels("dead-letter").inc()
        if arrival.done:
            reason = f"{reason} (its first {arrival.done} rows were taken)"
        _log.warning("%s: message refused: %s", arrival.topic, reason)
        to = self._config.dead_letter_topic
        await self._outbox.put(
            [letters.dead(arrival.topic, arrival.payload, reason, to)], [arrival]
        )


def _reason(response: httpx.Response) -> str:
    try:
        return str(response.json()["error"])
    except (ValueError, KeyError, TypeError):
        return response.text[:500] or response.reason_phrase

"""Messages as they come, kept in one transaction before they are acknowledged.

Rows go into the inbox, single values to the others of their row, and what leads nowhere becomes a
dead letter.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import aiomqtt
import orjson

from service.connectors import letters, values
from service.connectors.config import Config, Join
from service.connectors.entries import Joined
from service.connectors.joining import Outcome, Value, folded
from service.connectors.ledger import Ledger
from service.connectors.letters import Letter
from service.connectors.meters import Meters
from service.connectors.outbox import Outbox
from service.connectors.routes import FEEDBACK, Destination, Routes
from service.errors import InvalidRequest

_log = logging.getLogger("glassline.bridge")
_FULL_S = 0.2
_DIFFERENT = (
    "the sensor said another value at this time already, and the first one stays. Give each value "
    "its own time."
)


@dataclass(frozen=True)
class _Single:
    """One value, and the message that brought it."""

    value: Value
    join: Join
    to: Destination
    topic: str
    payload: bytes


class Intake:
    """Keeps what comes.

    Args:
        config: of the bridge.
        ledger: where it is kept.
        outbox: where dead letters go.
        meters: where to count.
    """

    def __init__(self, config: Config, ledger: Ledger, outbox: Outbox, meters: Meters) -> None:
        self._config, self._ledger = config, ledger
        self._outbox, self._meters = outbox, meters
        self._routes = Routes(config)
        self._full = False

    async def room(self) -> None:
        """Wait while the inbox is full: unacknowledged, the broker keeps what it has."""
        while self._ledger.inbox >= self._config.store.inbox:
            if not self._full:
                _log.warning("inbox: full; the broker keeps what comes until there is room")
            self._full = True
            await asyncio.sleep(_FULL_S)
        self._full = False

    async def keep(self, messages: Sequence[aiomqtt.Message]) -> frozenset[str]:
        """Keep messages; durable when this returns.

        Returns:
            Keys for which the inbox has new ones.
        """
        now = time.time_ns() // 1000
        rows: list[tuple[str, str, bytes]] = []
        singles: dict[str, list[_Single]] = defaultdict(list)
        dead: list[Letter] = []
        for message in messages:
            topic = str(message.topic)
            payload = message.payload if isinstance(message.payload, bytes) else b""
            try:
                self._check_size(payload)
                if self._routes.feeds_back(topic):
                    rows.append((FEEDBACK, topic, payload))
                    continue
                to = self._routes.destination(topic)
                if (join := to.form.join) is None:
                    rows.append((to.key, topic, payload))
                    continue
                singles[to.key] += [
                    _Single(one, join, to, topic, payload) for one in values.parse(payload, to, now)
                ]
            except InvalidRequest as error:
                _log.warning("%s: message refused: %s", topic, error)
                dead.append(letters.dead(topic, payload, str(error), self._to))
        outcomes: list[Outcome] = []
        joins = {
            key: lambda state, k=key: self._joined(k, singles[k], now, state, outcomes)
            for key in singles
        }
        kept = await self._outbox.arrive(rows, joins, dead)
        self._meters.messages.labels("kept").inc(len(messages) - len(dead))
        self._meters.messages.labels("dead-letter").inc(len(kept.letters))
        for outcome in outcomes:
            self._meters.values.labels(outcome).inc()
        return kept.keys

    @property
    def _to(self) -> str:
        return self._config.dead_letter_topic

    def _check_size(self, payload: bytes) -> None:
        largest = self._config.store.payload_bytes
        if len(payload) > largest:
            raise InvalidRequest(
                f"payload: {len(payload)} bytes, at most {largest} are taken. Send fewer "
                "rows a message, or raise store.payload_bytes of the bridge."
            )

    def _joined(
        self,
        key: str,
        singles: Sequence[_Single],
        now: int,
        before: bytes | None,
        outcomes: list[Outcome],
    ) -> Joined:
        """A stream's values after those that came before; rows that they make wait as messages."""
        state, rows, found = folded(before, [(one.value, now, one.join) for one in singles])
        outcomes += found
        refused = dict.fromkeys(
            (one.topic, one.payload)
            for one, outcome in zip(singles, found, strict=True)
            if outcome == "different"
        )
        dead = [letters.dead(*both, f"payload: {_DIFFERENT}", self._to) for both in refused]
        topic = singles[-1].to.rows_topic
        # A message each: the server refuses whole messages, and one row takes no other with it.
        made = [(key, topic, orjson.dumps({"rows": [row]})) for row in rows]
        return Joined(state, made, dead)

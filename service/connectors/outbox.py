"""Letters on their way to disk, counted, and whoever publishes them woken."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping, Sequence

from service.connectors.entries import Arrival, Fold, Kept, Message, Posted
from service.connectors.ledger import Ledger
from service.connectors.letters import Letter
from service.connectors.meters import Meters

_log = logging.getLogger("glassline.bridge")


class Outbox:
    """Where letters go that are to be published.

    Args:
        ledger: keeps them.
        meters: counts them.
    """

    def __init__(self, ledger: Ledger, meters: Meters) -> None:
        self._ledger, self._meters = ledger, meters
        #: set when something may be there to publish
        self.written = asyncio.Event()

    async def put(
        self,
        letters: Sequence[Letter],
        finished: Iterable[Arrival] = (),
        begun: tuple[Arrival, int] | None = None,
        mark: tuple[str, str] | None = None,
    ) -> None:
        """Keep letters, see `Ledger.post`; durable when this returns."""
        self._noted(letters, await self._ledger.post(letters, finished, begun, mark))

    async def arrive(
        self, messages: Sequence[Message], joins: Mapping[str, Fold], letters: Sequence[Letter]
    ) -> Kept:
        """Keep what came, see `Ledger.arrive`."""
        kept = await self._ledger.arrive(messages, joins, letters)
        self._noted(kept.letters, kept.posted)
        return kept

    def _noted(self, letters: Sequence[Letter], done: Posted) -> None:
        for one in letters:
            self._meters.letters.labels(one.kind).inc()
        self._meters.withheld.labels("again").inc(done.again)
        self._meters.withheld.labels("conflict").inc(len(done.conflicts))
        for name in done.conflicts:
            _log.warning("%s: made again with another content; the first one stays", name)
        if done.new:
            self.written.set()

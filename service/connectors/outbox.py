"""Letters on their way to disk, counted, and whoever publishes them woken."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Sequence

from service.connectors.ledger import Arrival, Ledger
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
        done = await self._ledger.post(letters, finished, begun, mark)
        for one in letters:
            self._meters.letters.labels(one.kind).inc()
        self._meters.withheld.labels("again").inc(done.again)
        self._meters.withheld.labels("conflict").inc(len(done.conflicts))
        for name in done.conflicts:
            _log.warning("%s: made again with another content; the first one stays", name)
        if done.new:
            self.written.set()

"""What the sequencer does between commits: payloads that have become too old go."""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime
from typing import Final

from service.audit.committer import Committer
from service.audit.erasure import Retention
from service.audit.store import RecordStore
from service.errors import GlasslineError

#: Seconds between two rounds, and between two transactions of one: others want to write.
ROUND_S: Final = 3600.0
PAUSE_S: Final = 0.05
_log = logging.getLogger("glassline.records")


class Housekeeping:
    """Erases payloads that are older than the settings allow.

    Args:
        committer: appends the records that erase.
        store: where the payloads are.
        days: how long they are kept; 0 = for ever.
    """

    def __init__(self, committer: Committer, store: RecordStore, days: int) -> None:
        self._committer = committer
        self._store = store
        self._days = days

    async def run(self) -> None:
        """Work until cancelled."""
        while self._days:
            await self._round(Retention(self._store, self._days))
            await asyncio.sleep(ROUND_S)

    async def _round(self, retention: Retention) -> None:
        try:
            while erasure := retention.next(datetime.now(UTC)):
                (reason,) = self._committer.write([erasure])
                if reason is not None:
                    _log.error("records: old payloads were not erased: %s", reason)
                    return
                await asyncio.sleep(PAUSE_S)
        except GlasslineError as error:
            _log.error("records: old payloads were not erased: %s", error)

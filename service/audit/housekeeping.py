"""What the sequencer does between commits: old payloads go, checkpoints get their time."""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime
from typing import Final

from sqlalchemy.exc import DBAPIError

from service.audit.checkpoint import Checkpoint
from service.audit.committer import Committer
from service.audit.erasure import Retention
from service.audit.log import AuditLog
from service.audit.store import RecordStore
from service.audit.timestamps import stamped
from service.audit.vouching import keep_stamped
from service.errors import GlasslineError
from service.settings import Settings

#: Seconds between two rounds, and between two transactions of one: others want to write.
ROUND_S: Final = 3600.0
PAUSE_S: Final = 0.05
_log = logging.getLogger("glassline.records")


class Housekeeping:
    """Erases payloads that are older than the settings allow, and has checkpoints stamped.

    Args:
        committer: appends the records that erase.
        store: where the payloads are.
        settings: how long payloads are kept; who stamps, and how often.
    """

    def __init__(self, committer: Committer, store: RecordStore, settings: Settings) -> None:
        self._committer = committer
        self._store = store
        self._settings = settings
        self._size = 0

    async def run(self) -> None:
        """Work until cancelled."""
        await asyncio.gather(self._erase(), self._stamp())

    async def _erase(self) -> None:
        while days := self._settings.payload_days:
            await self.erase_old(Retention(self._store, days))
            await asyncio.sleep(ROUND_S)

    async def _stamp(self) -> None:
        while self._settings.timestamp_url:
            await self.stamp_once()
            await asyncio.sleep(self._settings.timestamp_minutes * 60)

    async def erase_old(self, retention: Retention) -> None:
        """Erase what is too old, a few records a transaction; a failure is logged."""
        try:
            while erasure := retention.next(datetime.now(UTC)):
                (reason,) = self._committer.write([erasure])
                if reason is not None:
                    _log.error("records: old payloads were not erased: %s", reason)
                    return
                await asyncio.sleep(PAUSE_S)
        except GlasslineError as error:
            _log.error("records: old payloads were not erased: %s", error)

    async def stamp_once(self) -> None:
        """Have the newest checkpoint stamped if it is a new one; a failure is logged."""
        try:
            note = AuditLog(self._store).checkpoint()
            size = Checkpoint.parse(note.text).size
            if size == self._size:
                return
            # Not on the loop: the authority may take its time, and records do not wait for it.
            token = await asyncio.to_thread(stamped, note, self._settings.timestamp_url)
            keep_stamped(self._store, note, token)
            self._size = size
        except (GlasslineError, DBAPIError) as error:
            _log.error("log: the checkpoint was not time-stamped: %s", error)

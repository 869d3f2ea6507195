"""The process that writes records: one for each record store on a machine.

One writer gives one order, and groups what all processes of a server hand in. It has an
interpreter of its own: a commit takes no time from predictions. `RecordChannel` starts it
when it is needed; it goes when nobody is connected any more, and never before, so that
what was predicted while a server stops is still recorded.
"""

from __future__ import annotations

import asyncio
import fcntl
import gc
import hashlib
import logging
import os
import signal
import sys
import time
from pathlib import Path
from typing import Final, cast

import uvloop

from service import metrics
from service import settings as configuration
from service.audit import frames
from service.audit.committer import Committer, not_recorded
from service.audit.housekeeping import Housekeeping
from service.audit.log_writer import LogWriter
from service.audit.record import Record
from service.errors import GlasslineError
from service.logs import configure_logging
from service.settings import Settings

#: Seconds without a connection after which it goes; at first somebody is on the way.
GRACE_S: Final = 1.0
FIRST_GRACE_S: Final = 20.0
#: Most records in one transaction.
MAX_GROUP: Final = 512
_log = logging.getLogger("glassline.records")


def socket_path(settings: Settings) -> Path:
    """Where the sequencer of these settings' record store listens."""
    store = hashlib.sha256(settings.database.encode()).hexdigest()[:8]
    return settings.root / "run" / f"records-{store}.sock"


class Sequencer:
    """Takes records from all that connect, and says when each is durable.

    It does one thing at a time: reads what has come from everybody, commits it, answers.
    What comes meanwhile waits in the sockets and is the next group.

    Args:
        committer: makes groups durable.
    """

    def __init__(self, committer: Committer) -> None:
        self._committer = committer
        self._waiting: list[tuple[_Client, int, Record, float]] = []
        self._clients = 0
        self._gone = asyncio.Event()
        self._leaving = asyncio.get_running_loop().call_later(FIRST_GRACE_S, self._gone.set)

    async def serve(self, path: Path) -> None:
        """Listen on `path` until nobody is connected any more."""
        path.unlink(missing_ok=True)
        before = os.umask(0o177)  # the socket is its owner's alone from the start
        try:
            server = await asyncio.get_running_loop().create_unix_server(
                lambda: _Client(self), str(path)
            )
        finally:
            os.umask(before)
        await self._gone.wait()
        path.unlink(missing_ok=True)
        server.close()

    def joined(self) -> None:
        """Somebody is connected."""
        self._clients += 1
        self._leaving.cancel()

    def left(self) -> None:
        """Somebody is not connected any more."""
        self._clients -= 1
        if not self._clients:
            self._leaving = asyncio.get_running_loop().call_later(GRACE_S, self._gone.set)

    def take(self, client: _Client, number: int, record: Record) -> None:
        """A record has come; it is committed once all that is ready has been read."""
        if not self._waiting:
            asyncio.get_running_loop().call_soon(self._commit)
        self._waiting.append((client, number, record, time.perf_counter()))

    def _commit(self) -> None:
        group, self._waiting = self._waiting[:MAX_GROUP], self._waiting[MAX_GROUP:]
        if self._waiting:
            asyncio.get_running_loop().call_soon(self._commit)
        try:
            reasons = self._committer.write([record for _, _, record, _ in group])
        except Exception:  # whoever waits must be told
            _log.exception("records: a group of %d was not finished", len(group))
            reasons = ["internal error, see the log"] * len(group)
        if reason := self._committer.out_of_order:
            group, self._waiting = group + self._waiting, []
            reasons += [reason] * (len(group) - len(reasons))
        now = time.perf_counter()
        answers: dict[_Client, list[bytes]] = {}
        for (client, number, record, since), reason in zip(group, reasons, strict=True):
            said = answers.setdefault(client, [])
            if reason is None:
                metrics.audit_append(record.kind)(now - since)
                said.append(frames.answer(number, frames.DURABLE))
            else:
                said.append(frames.answer(number, frames.UNAVAILABLE, not_recorded(reason)))
        for client, said in answers.items():
            client.say(b"".join(said))


class _Client(asyncio.Protocol):
    def __init__(self, sequencer: Sequencer) -> None:
        self._sequencer = sequencer
        self._records = frames.Records()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by class
        self._sequencer.joined()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's shape
        self._sequencer.left()

    def data_received(self, data: bytes) -> None:
        for number, record in self._records.feed(data):
            self._sequencer.take(self, number, record)

    def say(self, answers: bytes) -> None:
        """Answer, if the other end is still there."""
        if not self._transport.is_closing():
            self._transport.write(answers)


def main() -> int:
    """Write the records of the settings' store until nobody needs it.

    Returns:
        The exit code: 0 also when another process does it already.
    """
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # Whoever stops the server stops the others, and they have the last word to record.
        signal.signal(signum, signal.SIG_IGN)
    settings = configuration.load()
    configure_logging(settings.log_level)
    path = socket_path(settings)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_suffix(".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return 0
        try:
            log = LogWriter.of(settings)
            log.start()
        except GlasslineError as error:
            _log.error("%s", error)
            return 1
        gc.collect()
        gc.freeze()

        async def run() -> None:
            committer = Committer(log)
            keeping = Housekeeping(committer, log.store, settings)
            task = asyncio.get_running_loop().create_task(keeping.run())
            await Sequencer(committer).serve(path)
            task.cancel()

        uvloop.run(run())
        log.store.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Group commit: one thread a process, one transaction for all records that wait."""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from concurrent.futures import Future

from sqlalchemy.exc import DBAPIError

from service import metrics
from service.audit.record import Record
from service.audit.store import RecordStore
from service.errors import Overloaded, Unavailable

#: Tries of one group while another process holds the database, and seconds between them.
TRIES = 3
PAUSE_S = 0.2


class RecordWriter:
    """Writes records durably, many in one commit.

    Args:
        store: where they go.
        max_pending: records that may wait; one more is refused.
        max_group: most records in one transaction.
    """

    def __init__(self, store: RecordStore, max_pending: int = 8192, max_group: int = 512) -> None:
        self._store = store
        self._max_group = max_group
        self._queue: queue.Queue[tuple[Record, Future[None], float] | None] = queue.Queue(
            max_pending
        )
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="glassline-records", daemon=True)
        self._thread.start()

    def append(self, record: Record) -> Future[None]:
        """Hand a record in; the future is done once the record is on disk.

        Raises:
            Overloaded: too many records wait.
            Unavailable: the writer is closed; the future raises it when the store fails.
        """
        if self._closed:
            raise Unavailable("record store: closed; the server is stopping.")
        done: Future[None] = Future()
        # From here on a caller that leaves cannot cancel it: what was answered is recorded.
        done.set_running_or_notify_cancel()
        try:
            self._queue.put_nowait((record, done, time.perf_counter()))
        except queue.Full:
            raise Overloaded(
                f"record store: {self._queue.maxsize} records wait to be written; try again later."
            ) from None
        return done

    async def append_async(self, record: Record) -> None:
        """`append`, and wait until the record is on disk."""
        await asyncio.wrap_future(self.append(record))

    def close(self) -> None:
        """Write what waits, then stop."""
        if not self._closed:
            self._closed = True
            self._queue.put(None)
            self._thread.join()

    def _run(self) -> None:
        stopping = False
        while not stopping:
            entry = self._queue.get()
            group = []
            while entry is not None:
                group.append(entry)
                if len(group) >= self._max_group:
                    break
                try:
                    entry = self._queue.get_nowait()
                except queue.Empty:
                    break
            else:
                stopping = True
            if group:
                self._commit(group)

    def _commit(self, group: list[tuple[Record, Future[None], float]]) -> None:
        problem = self._written([record for record, _, _ in group])
        now = time.perf_counter()
        metrics.AUDIT_GROUP.observe(len(group))
        for record, done, since in group:
            if problem is None:
                metrics.AUDIT_APPEND.labels(record.kind).observe(now - since)
                done.set_result(None)
            else:
                done.set_exception(problem)

    def _written(self, group: list[Record]) -> Unavailable | None:
        """None once the group is durable, else why it is not; a group is written whole or not."""
        reason: Exception | None = None
        for _ in range(TRIES):
            try:
                self._store.append(group)
                return None
            except DBAPIError as error:
                reason = error.orig if isinstance(error.orig, Exception) else error
                time.sleep(PAUSE_S)
            except Exception as error:  # a thread that dies would leave every caller waiting
                reason = error
                break
        return Unavailable(
            f"record store: nothing was recorded, so nothing is answered ({reason})."
        )

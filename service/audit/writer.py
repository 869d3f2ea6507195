"""Group commit: one thread a process, one transaction for all records that wait."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass

from sqlalchemy.exc import IntegrityError, InterfaceError, OperationalError

from service import metrics
from service.audit.record import Record
from service.audit.store import RecordStore
from service.errors import GlasslineError, Overloaded, Unavailable

#: Tries of one group while another process holds the database, and seconds between them.
#: With `store.BUSY_MS` a caller waits ten seconds at most for a database that does not answer.
TRIES = 3
PAUSE_S = 0.2
_log = logging.getLogger("glassline.records")


@dataclass(frozen=True, slots=True)
class _Entry:
    record: Record
    done: Future[None] | asyncio.Future[None]
    since: float


class RecordWriter:
    """Writes records durably, many in one commit.

    Args:
        store: where they go.
        max_pending: records that may wait; one more is refused.
        max_group: most records in one transaction.
    """

    def __init__(self, store: RecordStore, max_pending: int = 8192, max_group: int = 512) -> None:
        self._store = store
        self._max_pending = max_pending
        self._max_group = max_group
        self._waiting: list[_Entry] = []
        self._closed = False
        #: guards `_waiting` and `_closed` together, so that nothing is let in after the last group
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="glassline-records", daemon=True)
        self._thread.start()

    def append(self, record: Record) -> Future[None]:
        """Hand a record in; the future is done once the record is on disk.

        Raises:
            Overloaded: too many records wait.
            Unavailable: the writer is closed; the future raises it when the store fails.
        """
        done: Future[None] = Future()
        # From here on a caller that leaves cannot cancel it: what was answered is recorded.
        done.set_running_or_notify_cancel()
        self._admit(record, done)
        return done

    def submit(self, record: Record) -> asyncio.Future[None]:
        """Hand a record in from an event loop; the future is done once the record is on disk.

        Cancelling it leaves the record to be written.

        Raises:
            Overloaded: too many records wait.
            Unavailable: the writer is closed; the future raises it when the store fails.
        """
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._admit(record, done)
        return done

    def close(self) -> None:
        """Write what waits, then stop."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def _admit(self, record: Record, done: Future[None] | asyncio.Future[None]) -> None:
        entry = _Entry(record, done, time.perf_counter())
        with self._changed:
            if self._closed:
                raise Unavailable("record store: closed; the server is stopping.")
            if len(self._waiting) >= self._max_pending:
                raise Overloaded(
                    f"record store: {self._max_pending} records wait to be written; "
                    "try again later."
                )
            self._waiting.append(entry)
            if len(self._waiting) == 1:
                self._changed.notify()

    def _run(self) -> None:
        while group := self._next_group():
            try:
                self._write(group)
            except Exception:  # a thread that dies would leave every later caller waiting
                _log.exception("records: a group of %d was not finished", len(group))
                _tell(group, "internal error, see the log")

    def _next_group(self) -> list[_Entry]:
        """What waits, oldest first; waits for it; empty once closed and written."""
        with self._changed:
            while not self._waiting and not self._closed:
                self._changed.wait()
            group = self._waiting[: self._max_group]
            del self._waiting[: self._max_group]
            return group

    def _write(self, group: list[_Entry]) -> str | None:
        """Write a group and answer its callers; why the store failed, if it did."""
        try:
            reason = self._transaction([entry.record for entry in group])
        except Exception as error:  # not the store but a record of the group is at fault
            if len(group) > 1:
                return self._write_singly(group)
            fault = None if self._stands_already(group[0].record, error) else _said(error)
            _tell(group, fault)
            return None
        if reason:
            # Whoever waited meanwhile has waited long enough: the same answer, at once.
            with self._changed:
                group, self._waiting = group + self._waiting, []
        _tell(group, reason)
        if reason is None:
            _observe(group)
        return reason

    def _write_singly(self, group: list[_Entry]) -> str | None:
        for done, entry in enumerate(group, start=1):
            if reason := self._write([entry]):
                _tell(group[done:], reason)
                return reason
        return None

    def _transaction(self, records: Sequence[Record]) -> str | None:
        """None once all are durable, else why none is; anything else raised is a record's fault."""
        for attempt in range(TRIES):
            if attempt:
                time.sleep(PAUSE_S)
            try:
                self._store.append(records)
                return None
            except (OperationalError, InterfaceError) as error:  # locked, full, gone
                reason = _said(error)
        return reason

    def _stands_already(self, record: Record, error: Exception) -> bool:
        """Whether an earlier try had been committed although the database did not say so."""
        if not isinstance(error, IntegrityError):
            return False
        with contextlib.suppress(GlasslineError):
            return self._store.get(record.id).body == record.body
        return False


def _said(error: Exception) -> str:
    return str(getattr(error, "orig", None) or error)


def _tell(group: list[_Entry], reason: str | None) -> None:
    """Answer everybody in a group, each event loop with one wake-up."""
    by_loop: dict[asyncio.AbstractEventLoop, list[_Entry]] = {}
    for entry in group:
        if isinstance(entry.done, asyncio.Future):
            by_loop.setdefault(entry.done.get_loop(), []).append(entry)
        else:
            _settle([entry], reason)
    for loop, entries in by_loop.items():
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(_settle, entries, reason)


def _settle(entries: list[_Entry], reason: str | None) -> None:
    for entry in entries:
        if entry.done.done():
            continue  # the caller has left
        if reason is None:
            entry.done.set_result(None)
        else:
            entry.done.set_exception(
                Unavailable(
                    f"record store: nothing was recorded, so nothing is answered ({reason})."
                )
            )


def _observe(group: list[_Entry]) -> None:
    now = time.perf_counter()
    metrics.audit_group()(len(group))
    for entry in group:
        metrics.audit_append(entry.record.kind)(now - entry.since)

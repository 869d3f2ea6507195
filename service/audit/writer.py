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

from service import metrics
from service.audit.committer import Committer, not_recorded
from service.audit.log_writer import LogWriter
from service.audit.record import Record
from service.errors import Overloaded, Unavailable

_log = logging.getLogger("glassline.records")


@dataclass(frozen=True, slots=True)
class _Entry:
    record: Record
    done: Future[None] | asyncio.Future[None]
    since: float


class RecordWriter:
    """Writes records durably, many in one commit.

    Args:
        log: where they go.
        max_pending: records that may wait; one more is refused.
        max_group: most records in one transaction.
    """

    def __init__(self, log: LogWriter, max_pending: int = 8192, max_group: int = 512) -> None:
        self._committer = Committer(log)
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

    def attend(self) -> None:
        """Nothing to attend to: the writing thread lives as long as its process."""

    def wait(self) -> None:
        """Wait until records can be written: they can."""

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
                _tell(group, ["internal error, see the log"] * len(group))

    def _next_group(self) -> list[_Entry]:
        """What waits, oldest first; waits for it; empty once closed and written."""
        with self._changed:
            while not self._waiting and not self._closed:
                self._changed.wait()
            group = self._waiting[: self._max_group]
            del self._waiting[: self._max_group]
            return group

    def _write(self, group: list[_Entry]) -> None:
        reasons = self._committer.write([entry.record for entry in group])
        _tell(group, reasons)
        if reason := self._committer.out_of_order:
            with self._changed:
                waiting, self._waiting = self._waiting, []
            _tell(waiting, [reason] * len(waiting))
        _observe([e for e, reason in zip(group, reasons, strict=True) if reason is None])


def _tell(group: Sequence[_Entry], reasons: Sequence[str | None]) -> None:
    """Answer everybody in a group, each event loop with one wake-up."""
    by_loop: dict[asyncio.AbstractEventLoop, list[tuple[_Entry, str | None]]] = {}
    for entry, reason in zip(group, reasons, strict=True):
        if isinstance(entry.done, asyncio.Future):
            by_loop.setdefault(entry.done.get_loop(), []).append((entry, reason))
        else:
            _settle([(entry, reason)])
    for loop, told in by_loop.items():
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(_settle, told)


def _settle(told: Sequence[tuple[_Entry, str | None]]) -> None:
    for entry, reason in told:
        if entry.done.done():
            continue  # the caller has left
        if reason is None:
            entry.done.set_result(None)
        else:
            entry.done.set_exception(Unavailable(not_recorded(reason)))


def _observe(written: Sequence[_Entry]) -> None:
    now = time.perf_counter()
    for entry in written:
        metrics.audit_append(entry.record.kind)(now - entry.since)

"""The way of a record from any process of a server to the sequencer that writes it."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import queue
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import Future
from pathlib import Path
from typing import Final

from service.audit import frames
from service.audit.line import LOST, Line, answer, settle
from service.audit.record import Record
from service.errors import GlasslineError, Overloaded, Unavailable

#: Seconds that a sequencer may take to start.
START_S: Final = 15.0
_LOOK_S: Final = 0.01


class RecordChannel:
    """Hands records to the sequencer, and starts one where there is none.

    Args:
        path: the socket that it listens on.
        environment: of the process that is started.
        max_pending: records on their way from an event loop; one more is refused.
        starts: False to wait for somebody else to start a sequencer: it would inherit the
            priority of this process.
    """

    def __init__(
        self,
        path: Path,
        environment: dict[str, str],
        max_pending: int = 8192,
        *,
        starts: bool = True,
    ) -> None:
        self._starts = starts
        self._path = path
        self._environment = environment
        self._max_pending = max_pending
        self._line: Line | None = None
        self._reviving = threading.Lock()
        self._queue: queue.SimpleQueue[tuple[Record, Future[None]] | None] = queue.SimpleQueue()
        self._leaving = threading.Event()
        self._thread = threading.Thread(target=self._run, name="glassline-records", daemon=True)
        self._thread.start()

    def append(self, record: Record) -> Future[None]:
        """Hand a record in from any thread; the future is done once the record is on disk.

        Raises:
            Unavailable: raised by the future, where the record could not be written.
        """
        done: Future[None] = Future()
        done.set_running_or_notify_cancel()
        self._queue.put((record, done))
        return done

    def submit(self, record: Record) -> asyncio.Future[None]:
        """Hand a record in from an event loop; the future is done once the record is on disk.

        Cancelling it leaves the record to be written.

        Raises:
            Overloaded: too many records are on their way.
            Unavailable: nobody writes records at the moment; raised by the future, where the
                record could not be written.
        """
        line = self._line
        if line is None or line.lost:
            line = self._line = self._connected()
        if len(line.waiting) >= self._max_pending:
            raise Overloaded(
                f"record store: {self._max_pending} records wait to be written; try again later."
            )
        return line.send(record)

    def attend(self) -> None:
        """Have the running event loop notice when the sequencer dies, and start another."""
        if self._line is None or self._line.lost:
            with contextlib.suppress(Unavailable):
                self._line = self._connected()

    def wait(self) -> None:
        """Wait until there is somebody to write records.

        Raises:
            Unavailable: nobody came up in START_S seconds.
        """
        self._connect_patiently().close()

    def close(self) -> None:
        """Send what was appended, then part; the sequencer goes when all have parted."""
        self._leaving.set()
        self._queue.put(None)
        self._thread.join(START_S)
        if self._line:
            self._line.close()

    def _connected(self) -> Line:
        """A line for the running event loop; a sequencer is started in a thread, not awaited."""
        try:
            return Line(self._connect(), asyncio.get_running_loop(), self._revive_soon)
        except OSError:
            self._revive_soon()
            raise Unavailable(
                "record store: the process that writes it is starting; nothing was recorded, so "
                "nothing is answered. Try again."
            ) from None

    def _revive_soon(self) -> None:
        threading.Thread(target=self._revive, daemon=True).start()

    def _revive(self) -> None:
        if self._reviving.acquire(blocking=False):
            with contextlib.suppress(Unavailable), contextlib.ExitStack() as stack:
                stack.callback(self._reviving.release)
                self._connect_patiently().close()

    def _connect(self) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.connect(str(self._path))
        except OSError:
            connection.close()
            raise
        return connection

    def _connect_patiently(self, unless: threading.Event | None = None) -> socket.socket:
        """A connection, to a sequencer that is started if need be.

        Raises:
            Unavailable: nobody came up in START_S seconds.
        """
        deadline = time.monotonic() + START_S
        with contextlib.ExitStack() as stack:
            starting: int | None = None
            while time.monotonic() < deadline and not (unless and unless.is_set()):
                with contextlib.suppress(OSError):
                    return self._connect()
                if not self._starts:
                    time.sleep(_LOOK_S)
                    continue
                if starting is None and (starting := self._may_start()) is not None:
                    stack.callback(os.close, starting)
                    self._start()
                time.sleep(_LOOK_S)
        raise Unavailable(
            f"record store: no process came up to write it in {START_S:g} s; its log says why."
        )

    def _may_start(self) -> int | None:
        """A file that is locked while its holder starts a sequencer; None if another does."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        file = os.open(self._path.with_suffix(".start"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(file)
            return None
        return file

    def _start(self) -> None:
        child = subprocess.Popen(
            [sys.executable, "-m", "service.audit.sequencer"],
            cwd=Path(__file__).resolve().parents[2],
            env={**os.environ, **self._environment},
            stdin=subprocess.DEVNULL,
        )
        # It outlives its work here if others need it; a thread sees to it that it is no zombie.
        threading.Thread(target=child.wait, daemon=True).start()

    def _run(self) -> None:
        """Records from threads, one after the other: they are few."""
        connection: socket.socket | None = None
        with contextlib.suppress(Unavailable):
            # While the process does other things; a process that goes has nothing to wait for.
            connection = self._connect_patiently(unless=self._leaving)
        while item := self._queue.get():
            record, done = item
            try:
                if connection is None:
                    connection = self._connect_patiently()
                connection.sendall(frames.packed(0, record))
                settle(done, *answer(connection))
            except OSError:
                connection = None
                done.set_exception(Unavailable(LOST))
            except GlasslineError as error:
                done.set_exception(error)
        if connection:
            connection.close()

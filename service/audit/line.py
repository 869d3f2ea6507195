"""A connection to the sequencer: records go out, and what became of each comes back."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from concurrent.futures import Future
from typing import Final

from service.audit import frames
from service.audit.record import Record
from service.errors import Unavailable

_CHUNK: Final = 256 * 1024
#: What whoever waits is told when the sequencer goes.
LOST: Final = (
    "record store: the process that writes it went away, and whether this was recorded is not "
    "known; nothing is answered. Try again."
)


class Line:
    """A connection that an event loop reads and writes, many records at a time.

    Args:
        connection: to a sequencer.
        loop: that runs, and alone calls what is here.
        on_loss: called once the sequencer has gone.
    """

    def __init__(
        self,
        connection: socket.socket,
        loop: asyncio.AbstractEventLoop,
        on_loss: Callable[[], None],
    ) -> None:
        self._on_loss = on_loss
        connection.setblocking(False)
        self._connection = connection
        self._loop = loop
        self._answers = frames.Answers()
        self._number = 0
        self._out: list[bytes] = []
        #: by number, those whose records are on their way
        self.waiting: dict[int, asyncio.Future[None]] = {}
        self.lost = False
        self._blocked = False
        loop.add_reader(connection, self._readable)

    def send(self, record: Record) -> asyncio.Future[None]:
        """Put a record on the line, together with all others of this turn of the loop."""
        self._number += 1
        self._out.append(frames.packed(self._number, record))
        done = self.waiting[self._number] = self._loop.create_future()
        if len(self._out) == 1 and not self._blocked:
            self._loop.call_soon(self._flush)  # after all that this turn reads
        return done

    def _flush(self) -> None:
        if self.lost:
            return
        data = b"".join(self._out)
        try:
            sent = self._connection.send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            self.close()
            return
        if sent < len(data):
            # The sequencer is behind; the list is not empty, so nobody else calls this.
            self._out[:] = [data[sent:]]
            self._loop.add_writer(self._connection, self._flush)
            self._blocked = True
            return
        self._out.clear()
        if self._blocked:
            self._loop.remove_writer(self._connection)
            self._blocked = False

    def _readable(self) -> None:
        try:
            data = self._connection.recv(_CHUNK)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.close()
            self._on_loss()
            return
        for number, outcome, reason in self._answers.feed(data):
            done = self.waiting.pop(number)
            if not done.done():  # else its caller has left
                settle(done, outcome, reason)

    def close(self) -> None:
        """Part; whoever still waits is told that nothing is known."""
        if self.lost:
            return
        self.lost = True
        if not self._loop.is_closed():
            self._loop.remove_reader(self._connection)
            self._loop.remove_writer(self._connection)
        self._connection.close()
        for done in self.waiting.values():
            if not done.done():
                done.set_exception(Unavailable(LOST))
        self.waiting.clear()
        self._out.clear()


def answer(connection: socket.socket) -> tuple[int, str]:
    """Outcome and reason of the one record that is on its way.

    Raises:
        OSError: nobody answers any more.
    """
    answers = frames.Answers()
    while data := connection.recv(_CHUNK):
        for _, outcome, reason in answers.feed(data):
            return outcome, reason
    raise ConnectionResetError


def settle(done: Future[None] | asyncio.Future[None], outcome: int, reason: str) -> None:
    """Tell whoever waits for a record what became of it."""
    if outcome == frames.DURABLE:
        done.set_result(None)
    else:
        done.set_exception(Unavailable(reason))

"""How a server that stops turns newcomers away without breaking anybody's connection.

The supervisor holds the listening socket as long as it lives. Once no worker accepts any
more, the kernel goes on making connections that nobody will ever answer and that are reset
at the end, and a client that has sent its request cannot know whether it was done.

So the door is closed in this order. First a packet filter on the socket drops packets that
begin a connection; those that are being made come in and are accepted. Then each worker
stops accepting, and once all have, the socket is shut down for all processes: whoever
knocks is refused at once, or when its system knocks again after a second, has sent
nothing, and a balancer asks another replica. Connections that are open stay until their
next answer, which says that it is the last one.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import logging
import socket
import struct
import time
from typing import TYPE_CHECKING, Final

import uvicorn

if TYPE_CHECKING:
    from service.crew import Crew

#: Seconds in which a connection that is being made comes in: some round trips.
SETTLE_SECONDS: Final = 0.2
#: Seconds until a process that does not react is not waited for.
TOGETHER_SECONDS: Final = 2.0
#: Seconds in which open connections are told to close with an answer; then idle ones are cut.
LINGER_SECONDS: Final = 1.0

#: Linux's SO_ATTACH_FILTER (asm-generic/socket.h), which Python does not name.
_ATTACH_FILTER: Final = 26
#: Classic BPF (linux/filter.h): code, jump if true, jump if false, operand. A TCP socket's filter
#: sees packets from the TCP header on; byte 13 of it are the flags, 0x02 SYN and 0x10 ACK.
_DROP_SYN: Final = (
    (0x30, 0, 0, 13),  # A = flags
    (0x54, 0, 0, 0x12),  # A &= SYN | ACK
    (0x15, 0, 1, 0x02),  # if A == SYN:
    (0x06, 0, 0, 0),  # drop
    (0x06, 0, 0, 0xFFFFFFFF),  # else take all of it
)
_log = logging.getLogger("glassline.door")


class Doorkeeper(uvicorn.Server):
    """uvicorn's server, which leaves together with the other processes of its crew.

    A worker that alone is told to stop keeps nobody out: the others answer.
    """

    #: of this process; None where nobody says when to leave
    crew: Crew | None = None

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._doors: list[socket.socket] = []
        self._leaving: asyncio.Task[None] | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to accept; keeps a second handle on what it accepts from."""
        self._doors = [door.dup() for door in sockets or ()]
        await super().startup(sockets=sockets)

    async def on_tick(self, counter: int) -> bool:
        """Ten times a second: whether to end, and whether to begin to leave."""
        if self._leaving is None and self.crew is not None and self.crew.leaving:
            self._leaving = asyncio.create_task(self._leave(self.crew))
        return await super().on_tick(counter)

    async def _leave(self, crew: Crew) -> None:
        for door in self._doors:
            turn_away(door)
        for _ in range(10):  # in several turns of the loop, however long one takes
            await asyncio.sleep(SETTLE_SECONDS / 10)
        for server in self.servers:
            server.close()
        crew.shut()
        deadline = time.monotonic() + TOGETHER_SECONDS
        while not crew.all_shut and time.monotonic() < deadline:
            await asyncio.sleep(0.02)
        for door in self._doors:
            with contextlib.suppress(OSError):  # another process was quicker
                door.shutdown(socket.SHUT_RDWR)
        deadline = time.monotonic() + LINGER_SECONDS
        while self.server_state.connections and time.monotonic() < deadline:
            await asyncio.sleep(0.02)
        while self.server_state.tasks:  # every request has a time limit of its own
            await asyncio.sleep(0.02)
        crew.leave()


def turn_away(door: socket.socket) -> None:
    """Have the kernel drop what begins a connection to a listening TCP socket (Linux only)."""
    code = b"".join(struct.pack("=HBBI", *step) for step in _DROP_SYN)
    buffer = ctypes.create_string_buffer(code, len(code))
    program = struct.pack("@HP", len(_DROP_SYN), ctypes.addressof(buffer))
    try:
        door.setsockopt(socket.SOL_SOCKET, _ATTACH_FILTER, program)
    except OSError as error:
        _log.info("no filter on the listening socket (%s): a newcomer may be reset", error)

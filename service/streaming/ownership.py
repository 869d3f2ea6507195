"""One process owns all streams of a home; the others hand on what they are asked.

Who holds a lock on a file is the owner. The kernel takes the lock back when a process dies, however
it dies; another then brings the streams back from the disk and goes on. So a stream is never judged
twice, and never by two.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import struct
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Final

import orjson

from service import errors
from service.errors import GlasslineError, NoOwner, Unavailable

#: How long one hands on at most, in seconds.
HAND_ON_S: Final = 30.0
LONGEST_SOCKET: Final = 103
_SIZES: Final = struct.Struct("<II")
Answer = Callable[[Mapping[str, Any], bytes], Awaitable[dict[str, Any]]]


class Ownership:
    """The lock, and the way to whoever holds it.

    Args:
        folder: where the lock and the owner's socket are.
    """

    def __init__(self, folder: Path) -> None:
        self._lock_path = folder / "streams.lock"
        self._socket = folder / "streams.sock"
        folder.mkdir(parents=True, exist_ok=True)
        self._lock: int | None = None
        self._server: asyncio.Server | None = None

    def try_acquire(self) -> bool:
        """Become the owner, if nobody is."""
        file = os.open(self._lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(file)
            return False
        self._lock = file
        return True

    async def serve(self, answer: Answer) -> None:
        """Answer what other processes hand on; the owner alone does."""
        if len(os.fsencode(self._socket)) > LONGEST_SOCKET:
            return  # nobody can hand on, and whoever asks has no owner
        self._socket.unlink(missing_ok=True)

        async def one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                head, body = await _read(reader)
                writer.write(_packed(await _answered(answer, orjson.loads(head), body), b""))
                await writer.drain()
            except (OSError, asyncio.IncompleteReadError):
                pass  # whoever asked has left
            finally:
                writer.close()

        before = os.umask(0o177)  # the socket is its owner's alone from the start
        try:
            self._server = await asyncio.start_unix_server(one, str(self._socket))
        finally:
            os.umask(before)

    async def ask(self, asked: Mapping[str, Any], body: bytes) -> dict[str, Any]:
        """Hand on to the owner.

        Raises:
            NoOwner: there is none at the moment.
            Unavailable: it went away, or is too slow; what of it was done is not known then, and
                rows may be sent again: repeated ones are known.
            GlasslineError: what the owner raised.
        """
        reader, writer = await self._connected()
        try:
            async with asyncio.timeout(HAND_ON_S):
                try:
                    writer.write(_packed(orjson.dumps(asked), body))
                    head, _ = await _read(reader)
                finally:
                    writer.close()
        except (OSError, asyncio.IncompleteReadError, TimeoutError) as error:
            raise Unavailable(
                f"streams: the process that owns them does not answer ({type(error).__name__}). "
                "Another takes over within a second: send the rows again, repeated ones are known."
            ) from None
        said: dict[str, Any] = orjson.loads(head)
        if problem := said.get("error"):
            raise getattr(errors, problem["kind"], GlasslineError)(problem["message"])
        answer: dict[str, Any] = said["answer"]
        return answer

    async def answers(self) -> bool:
        """Whether the owner, whoever it is, can be asked."""
        try:
            _, writer = await self._connected()
        except NoOwner:
            return False
        writer.close()
        return True

    async def _connected(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        try:
            return await asyncio.open_unix_connection(str(self._socket))
        except OSError as error:
            raise NoOwner(
                f"streams: no process owns them at the moment ({type(error).__name__}). One takes "
                "over and brings them back: send the request again."
            ) from None

    async def close(self) -> None:
        """Own nothing any more."""
        if self._server is not None:
            self._server.close()
            self._socket.unlink(missing_ok=True)
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


async def _answered(answer: Answer, asked: Mapping[str, Any], body: bytes) -> bytes:
    try:
        return orjson.dumps({"answer": await answer(asked, body)})
    except GlasslineError as error:
        return orjson.dumps({"error": {"kind": type(error).__name__, "message": str(error)}})


def _packed(head: bytes, body: bytes) -> bytes:
    return _SIZES.pack(len(head), len(body)) + head + body


async def _read(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    head, body = _SIZES.unpack(await reader.readexactly(_SIZES.size))
    return await reader.readexactly(head), await reader.readexactly(body)

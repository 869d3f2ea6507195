"""Who owns the streams, and how long whoever asks waits for them."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from service.errors import NoOwner, Unavailable
from service.streaming.ownership import Ownership


async def echo(asked: Mapping[str, Any], body: bytes) -> dict[str, Any]:
    if asked.get("what") == "refuse":
        raise Unavailable("not now")
    return {"asked": dict(asked), "bytes": len(body)}


def test_one_owns_and_the_others_are_answered_by_it(tmp_path: Path) -> None:
    async def run() -> None:
        owner, other = Ownership(tmp_path), Ownership(tmp_path)
        assert owner.try_acquire()
        assert not other.try_acquire()
        with pytest.raises(NoOwner, match="no process owns them at the moment"):
            await other.ask({"what": "list"}, b"")
        assert not await other.answers()
        await owner.serve(echo)
        assert await other.answers()
        said = await other.ask({"what": "list"}, b"1234")
        assert said == {"asked": {"what": "list"}, "bytes": 4}
        with pytest.raises(Unavailable, match="not now"):
            await other.ask({"what": "refuse"}, b"")
        await owner.close()
        assert other.try_acquire()
        await other.close()

    asyncio.run(run())


def test_the_socket_that_a_killed_owner_left_is_no_owner(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as killed:
        killed.bind(str(tmp_path / "streams.sock"))
    with pytest.raises(NoOwner, match="ConnectionRefusedError"):
        asyncio.run(Ownership(tmp_path).ask({"what": "list"}, b""))


def test_an_owner_that_goes_while_it_is_asked_is_not_asked_twice(tmp_path: Path) -> None:
    """What of it was done nobody knows: the caller is told, and no other error is raised."""
    asked = 0

    async def run() -> None:
        async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal asked
            asked += 1
            await reader.read(8)
            writer.close()

        server = await asyncio.start_unix_server(hang_up, str(tmp_path / "streams.sock"))
        with pytest.raises(Unavailable, match="send the rows again, repeated ones are known") as no:
            await Ownership(tmp_path).ask({"what": "rows"}, b"")
        assert not isinstance(no.value, NoOwner)
        server.close()

    asyncio.run(run())
    assert asked == 1

"""What came is kept as a whole or not at all: rows, single values, letters about what is wrong."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from service.connectors.entries import Joined
from service.connectors.ledger import Ledger
from service.connectors.letters import Letter, dead
from service.errors import Unavailable

LETTER = dead("p/l/colour", b"1", "no such sensor", "glassline/dead-letter")


def with_ledger(folder: Path, do: Callable[[Ledger], Awaitable[None]]) -> None:
    async def run() -> None:
        ledger = Ledger(folder / "bridge.db", 60.0)
        try:
            await do(ledger)
        finally:
            ledger.close()

    asyncio.run(run())


def joins(before: list[bytes | None], state: bytes, letters: tuple[Letter, ...] = ()):
    """A fold that notes the state it finds, leaves this one and makes one row."""

    def fold(found: bytes | None) -> Joined:
        before.append(found)
        return Joined(state, [("m/l", "p/l/+", b'{"rows": []}')], letters)

    return fold


def test_values_and_the_rows_they_make_are_there_after_a_restart(tmp_path: Path) -> None:
    found: list[bytes | None] = []

    async def first(ledger: Ledger) -> None:
        whole = [("m/whole", "plant/rows", b"{}")]
        kept = await ledger.arrive(whole, {"m/l": joins(found, b"one", (LETTER,))})
        assert kept.keys == {"m/whole", "m/l"}
        assert kept.posted.new == 1
        assert ledger.inbox == 2

    async def second(ledger: Ledger) -> None:
        assert ledger.inbox == 2
        assert await ledger.keys() == ["m/whole", "m/l"]
        assert [letter for _, letter in await ledger.waiting(9)] == [LETTER]
        await ledger.arrive([], {"m/l": joins(found, b"two")})

    with_ledger(tmp_path, first)
    with_ledger(tmp_path, second)
    assert found == [None, b"one"]


def test_what_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    found: list[bytes | None] = []

    def fails(_: bytes | None) -> Joined:
        raise OSError("the disk is full")

    async def do(ledger: Ledger) -> None:
        both = {"m/l": joins(found, b"never"), "m/other": fails}
        with pytest.raises(Unavailable, match="cannot be written"):
            await ledger.arrive([("m/whole", "plant/rows", b"{}")], both, [LETTER])
        assert ledger.inbox == 0
        assert await ledger.keys() == []
        assert await ledger.waiting(9) == []
        await ledger.arrive([], {"m/l": joins(found, b"one")})

    with_ledger(tmp_path, do)
    assert found == [None, None]

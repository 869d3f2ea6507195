"""One process writes for all: whoever dies, what was acknowledged stands and the others go on."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.audit import frames
from service.audit.channel import RecordChannel
from service.audit.record import Payload, Record, build, new_id
from service.audit.sequencer import socket_path
from service.audit.store import RecordStore
from service.errors import Overloaded, Unavailable
from service.settings import Settings


def a_record(number: int = 0, content: bytes = b"input") -> Record:
    payload = Payload("x", "text/plain", content)
    moment = datetime.now(UTC)
    columns = {"model": "m", "version": "1", "score": 0.5}
    return build("prediction", new_id(), moment, {"number": number}, columns, (payload,))


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path)


@pytest.fixture
def open_channel(settings: Settings) -> Iterator[Callable[[], RecordChannel]]:
    channels = []

    def opened() -> RecordChannel:
        channels.append(RecordChannel(socket_path(settings), settings.environment()))
        return channels[-1]

    yield opened
    for channel in channels:
        channel.close()
    ended = time.monotonic() + 10
    while processes(settings) and time.monotonic() < ended:
        time.sleep(0.05)
    assert not processes(settings), "a sequencer stayed behind although nobody needs it"


@pytest.fixture
def store(settings: Settings) -> Iterator[RecordStore]:
    settings.root.mkdir(exist_ok=True)
    opened = RecordStore(settings.database)
    yield opened
    opened.close()


def processes(settings: Settings) -> list[int]:
    """Sequencers of this home that run."""
    found = subprocess.run(
        ["pgrep", "-f", "service.audit.sequencer"], capture_output=True, text=True, check=False
    )
    own = f"GLASSLINE_HOME={settings.root}\0"
    mine = []
    for pid in map(int, found.stdout.split()):
        try:
            status = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
            if own in Path(f"/proc/{pid}/environ").read_text() and status != "Z":
                mine.append(pid)
        except (FileNotFoundError, ProcessLookupError):
            continue
    return mine


@given(
    st.lists(st.tuples(st.binary(max_size=50), st.text(max_size=5)), max_size=5),
    st.integers(1, 40),
)
def test_records_come_out_of_any_cut_of_the_bytes(
    contents: list[tuple[bytes, str]], size: int
) -> None:
    sent = [a_record(n, content) for n, (content, _) in enumerate(contents)]
    data = b"".join(frames.packed(n, record) for n, record in enumerate(sent))
    reader = frames.Records()
    got = [one for i in range(0, len(data), size) for one in reader.feed(data[i : i + size])]
    assert got == list(enumerate(sent))
    said = [(n, frames.UNAVAILABLE, reason) for n, (_, reason) in enumerate(contents)]
    data = b"".join(frames.answer(*one) for one in said)
    answers = frames.Answers()
    back = [one for i in range(0, len(data), size) for one in answers.feed(data[i : i + size])]
    assert back == said


def test_many_processes_start_one_sequencer(
    settings: Settings, open_channel: Callable[[], RecordChannel], store: RecordStore
) -> None:
    channels = [open_channel() for _ in range(4)]
    records = [a_record(n) for n in range(40)]
    futures = [channels[n % 4].append(record) for n, record in enumerate(records)]
    for future in futures:
        future.result(timeout=20)
    assert len(processes(settings)) == 1
    for record in records:
        assert store.get(record.id).body == record.body
        assert store.payload(record.id, "x") == b"input"


def test_an_event_loop_hands_in_many_at_a_time(
    open_channel: Callable[[], RecordChannel], store: RecordStore
) -> None:
    channel = open_channel()
    channel.wait()
    # More than a socket takes at once, so that the loop has to wait for it.
    records = [a_record(n, os.urandom(20_000)) for n in range(300)]

    async def submit() -> None:
        await asyncio.gather(*map(channel.submit, records))

    asyncio.run(submit())
    assert all(store.get(record.id).body == record.body for record in records)


def test_a_record_that_is_refused_is_refused_alone(
    open_channel: Callable[[], RecordChannel], store: RecordStore
) -> None:
    channel = open_channel()
    channel.wait()
    first = a_record(1)
    twice = build("prediction", first.id, datetime.now(UTC), {"number": 2}, {})
    last = a_record(3)

    async def submit() -> list[BaseException | None]:
        await channel.submit(first)
        return await asyncio.gather(
            channel.submit(twice), channel.submit(last), return_exceptions=True
        )

    refused, written = asyncio.run(submit())
    assert isinstance(refused, Unavailable)
    assert written is None
    assert store.get(last.id).body == last.body


def test_too_many_on_their_way_are_refused(
    settings: Settings, open_channel: Callable[[], RecordChannel]
) -> None:
    open_channel().wait()
    channel = RecordChannel(socket_path(settings), settings.environment(), max_pending=5)

    async def submit() -> None:
        waiting = [channel.submit(a_record(n)) for n in range(5)]
        with pytest.raises(Overloaded):
            channel.submit(a_record())
        await asyncio.gather(*waiting)
        await channel.submit(a_record())

    asyncio.run(submit())
    channel.close()


def test_a_database_that_is_locked_is_waited_for(
    settings: Settings, open_channel: Callable[[], RecordChannel], store: RecordStore
) -> None:
    channel = open_channel()
    channel.wait()
    with sqlite3.connect(settings.root / "records.db", isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        future = channel.append(record := a_record())
        time.sleep(1)
        assert not future.done()
        other.execute("ROLLBACK")
    future.result(timeout=10)
    assert store.get(record.id).body == record.body


@pytest.mark.slow
def test_kill_9_under_load_loses_nothing_that_was_acknowledged(
    settings: Settings, open_channel: Callable[[], RecordChannel], store: RecordStore
) -> None:
    channel = open_channel()
    channel.wait()
    acknowledged: list[str] = []
    refused = 0

    async def caller(until: float) -> None:
        nonlocal refused
        while time.monotonic() < until:
            record = a_record()
            try:
                await channel.submit(record)
                acknowledged.append(record.id)
            except Unavailable:
                refused += 1
                await asyncio.sleep(0.02)

    async def murderer(until: float) -> int:
        killed = 0
        while time.monotonic() < until - 2:
            await asyncio.sleep(0.4)
            for pid in processes(settings):
                os.kill(pid, signal.SIGKILL)
                killed += 1
            before = len(acknowledged)
            while len(acknowledged) < before + 20 and time.monotonic() < until:
                await asyncio.sleep(0.01)
        return killed

    async def all_together() -> int:
        until = time.monotonic() + 12
        *_, killed = await asyncio.gather(*(caller(until) for _ in range(16)), murderer(until))
        return int(killed or 0)

    killed = asyncio.run(all_together())
    assert killed >= 3
    assert refused, "nobody noticed"
    assert len(acknowledged) > 100 * killed
    for record_id in acknowledged:
        store.get(record_id)

"""The writer answers once a record is on disk, or says why it is not; nobody waits for ever."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event

from service.audit.log_writer import LogWriter
from service.audit.record import Payload, Record, build, new_id
from service.audit.store import RecordStore
from service.audit.writer import RecordWriter
from service.errors import Overloaded, Unavailable, UnknownRecord
from tests.audit.logs import a_log
from tests.running_server import REPOSITORY


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "records.db"


@pytest.fixture
def log(path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LogWriter]:
    """A log that gives up on a locked database after 50 ms instead of seconds."""
    monkeypatch.setattr("service.audit.store.BUSY_MS", 50)
    opened = a_log(path)
    yield opened
    opened.store.close()


@pytest.fixture
def store(log: LogWriter) -> RecordStore:
    return log.store


@pytest.fixture
def writer(log: LogWriter) -> Iterator[RecordWriter]:
    opened = RecordWriter(log)
    yield opened
    opened.close()


@pytest.fixture
def lock(path: Path, log: LogWriter) -> Iterator[sqlite3.Connection]:
    """Another connection that holds the database until it is rolled back."""
    assert log is not None
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    yield connection
    connection.close()


def a_record(number: int = 0, **columns: Any) -> Record:
    return build("prediction", new_id(), datetime.now(UTC), {"number": number}, columns)


def count(path: Path) -> int:
    connection = sqlite3.connect(path)
    (rows,) = connection.execute("SELECT count(*) FROM records").fetchone()
    connection.close()
    return int(rows)


def one_group(
    writer: RecordWriter, lock: sqlite3.Connection, *records: Record
) -> list[Future[None]]:
    """Hand records in while the writer is held up by another one: they make one group."""
    first = writer.append(a_record())
    time.sleep(0.02)  # the writer now waits for the lock with `first`
    futures = [writer.append(record) for record in records]
    lock.execute("ROLLBACK")
    first.result(timeout=10)
    return futures


def test_an_answer_means_that_the_record_is_on_disk(writer: RecordWriter, path: Path) -> None:
    for done in [writer.append(a_record(n)) for n in range(200)]:
        done.result(timeout=10)
    assert count(path) == 200


async def appended(writer: RecordWriter, records: list[Record]) -> list[BaseException | None]:
    return await asyncio.gather(*map(writer.submit, records), return_exceptions=True)


def test_waiting_on_an_event_loop_is_answered_too(writer: RecordWriter, path: Path) -> None:
    assert asyncio.run(appended(writer, [a_record(n) for n in range(200)])) == [None] * 200
    assert count(path) == 200


def test_a_caller_who_leaves_does_not_take_the_record_along(
    writer: RecordWriter, lock: sqlite3.Connection, store: RecordStore
) -> None:
    record = a_record()

    async def leave() -> None:
        waiting = writer.submit(record)
        await asyncio.sleep(0.01)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting

    asyncio.run(leave())  # its loop is closed when the record is written
    lock.execute("ROLLBACK")
    writer.append(a_record()).result(timeout=10)
    assert store.get(record.id).body == record.body


def test_a_record_that_cannot_be_stored_fails_alone(
    writer: RecordWriter, lock: sqlite3.Connection, store: RecordStore, path: Path
) -> None:
    twice = a_record(1)
    other = build("prediction", twice.id, datetime.now(UTC), {"number": 2}, {})
    poison = a_record(3, decision="\ud800")
    good = [a_record(n) for n in range(4, 24)]
    futures = one_group(writer, lock, *good[:10], twice, poison, other, *good[10:])
    failed = [n for n, done in enumerate(futures) if done.exception(timeout=10)]
    assert failed == [11, 12]
    with pytest.raises(Unavailable, match="surrogates not allowed"):
        futures[11].result()
    with pytest.raises(Unavailable, match="UNIQUE"):
        futures[12].result()
    assert count(path) == 22
    assert store.get(twice.id).body == twice.body


def test_a_record_that_stands_already_is_acknowledged(
    writer: RecordWriter, log: LogWriter, path: Path
) -> None:
    record = a_record()
    log.append([record])  # as if a commit had succeeded and its answer was lost
    writer.append(record).result(timeout=10)
    assert count(path) == 1


def test_a_locked_database_is_said_to_all_who_wait_and_leaves_nothing(
    log: LogWriter, lock: sqlite3.Connection, path: Path
) -> None:
    writer = RecordWriter(log, max_group=20)
    start = time.monotonic()
    futures = [writer.append(a_record(n)) for n in range(2000)]  # a hundred groups
    for done in futures:
        with pytest.raises(Unavailable, match="database is locked"):
            done.result(timeout=10)
    assert time.monotonic() - start < 10  # patience once, 0.6 s, and not for each group
    lock.execute("ROLLBACK")
    assert count(path) == 0
    writer.append(a_record()).result(timeout=10)
    assert count(path) == 1
    writer.close()


def test_a_short_lock_is_waited_for(
    writer: RecordWriter, lock: sqlite3.Connection, path: Path
) -> None:
    done = writer.append(a_record())
    time.sleep(0.1)  # longer than one try
    lock.execute("ROLLBACK")
    done.result(timeout=10)
    assert count(path) == 1


def test_a_full_disk_is_said_and_leaves_nothing(writer: RecordWriter, store: RecordStore) -> None:
    writer.append(a_record()).result(timeout=10)
    # SQLite's own limit stands for the disk's: the same error from the same place.
    event.listen(store.engine, "connect", lambda c, _: c.execute("PRAGMA max_page_count = 30"))
    store.engine.dispose()
    large = Payload("image", "application/x-npy", bytes(range(256)) * 2000)
    big = build("prediction", new_id(), datetime.now(UTC), {"x": "y" * 200_000}, {}, (large,))
    with pytest.raises(Unavailable, match="disk is full"):
        writer.append(big).result(timeout=10)
    with pytest.raises(UnknownRecord):
        store.get(big.id)
    small = a_record()
    writer.append(small).result(timeout=10)
    assert store.get(small.id).sequence == 2


def test_a_full_queue_is_refused(log: LogWriter, lock: sqlite3.Connection, path: Path) -> None:
    writer = RecordWriter(log, max_pending=2)
    accepted = [writer.append(a_record())]
    time.sleep(0.02)  # that one is with the writing thread, which waits for the lock
    accepted += [writer.append(a_record()), writer.append(a_record())]
    with pytest.raises(Overloaded, match="2 records wait to be written"):
        writer.append(a_record())
    lock.execute("ROLLBACK")
    for done in accepted:
        done.result(timeout=10)
    assert count(path) == 3
    writer.close()


def test_closing_writes_what_waits_and_lets_nothing_in(
    log: LogWriter, lock: sqlite3.Connection, path: Path
) -> None:
    writer = RecordWriter(log)
    futures = [writer.append(a_record(n)) for n in range(1300)]
    lock.execute("ROLLBACK")
    writer.close()
    assert all(done.done() and not done.exception() for done in futures)
    assert count(path) == 1300
    with pytest.raises(Unavailable, match="closed"):
        writer.append(a_record())
    writer.close()  # again: nothing to do


def test_closing_under_load_leaves_nobody_waiting(log: LogWriter, path: Path) -> None:
    accepted: list[Future[None]] = []

    def keep_appending(writer: RecordWriter) -> None:
        try:
            while True:
                accepted.append(writer.append(a_record()))
        except Unavailable:
            return

    for _ in range(30):
        writer = RecordWriter(log)
        load = threading.Thread(target=keep_appending, args=(writer,))
        load.start()
        time.sleep(0.002)
        writer.close()
        load.join()
    assert all(done.done() for done in accepted)
    assert count(path) == len(accepted)


PROCESS = """
import sys
from datetime import UTC, datetime
from service.audit.record import build, new_id
from service.audit.log_writer import LogWriter
from service.audit.writer import RecordWriter
from service.settings import Settings

writer = RecordWriter(LogWriter.of(Settings(home=sys.argv[1])))
for _ in range(20):
    group = [build("prediction", new_id(), datetime.now(UTC), {}, {"caller": sys.argv[2]})
             for _ in range(25)]
    for future in [writer.append(record) for record in group]:
        future.result()
writer.close()
"""


def test_several_processes_create_and_write_one_file(path: Path) -> None:
    processes = [
        subprocess.Popen([sys.executable, "-c", PROCESS, str(path.parent), str(n)], cwd=REPOSITORY)
        for n in range(3)
    ]
    assert [process.wait(timeout=50) for process in processes] == [0, 0, 0]
    connection = sqlite3.connect(path)
    rows = connection.execute("SELECT caller, count(*) FROM records GROUP BY caller").fetchall()
    (last,) = connection.execute("SELECT max(sequence) FROM records").fetchone()
    connection.close()
    assert rows == [("0", 500), ("1", 500), ("2", 500)]
    assert last == 1500  # numbers without a gap

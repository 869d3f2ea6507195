"""Records come back as they were written, payloads are checked, nothing is half there."""

from __future__ import annotations

import hashlib
import json
import sqlite3
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import rfc8785
from sqlalchemy import create_engine, text

from service.audit.record import Payload, Record, build, new_id
from service.audit.store import RecordStore
from service.audit.writer import RecordWriter
from service.errors import Conflict, Overloaded, StoreError, Unavailable, UnknownRecord


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "folder" / "records.db"


@pytest.fixture
def store(path: Path) -> Iterator[RecordStore]:
    opened = RecordStore(f"sqlite:///{path}")
    yield opened
    opened.close()


def a_record(number: int = 0, *payloads: Payload) -> Record:
    content = {"number": number, "text": "Prüfling Ω"}
    return build("prediction", new_id(), datetime.now(UTC), content, {"model": "m"}, payloads)


def test_a_record_comes_back_as_canonical_bytes_with_their_digest(store: RecordStore) -> None:
    record = a_record(7)
    store.append([record])
    got = store.get(record.id)
    assert got.body == record.body
    assert rfc8785.dumps(json.loads(got.body)) == got.body
    assert got.sha256 == hashlib.sha256(got.body).hexdigest()
    assert (got.sequence, got.kind) == (1, "prediction")


def test_sequence_numbers_follow_the_order_of_writing(store: RecordStore) -> None:
    group = [a_record(n) for n in range(5)]
    store.append(group)
    assert [store.get(r.id).sequence for r in group] == [1, 2, 3, 4, 5]


def test_ids_sort_by_time() -> None:
    ids = [new_id() for _ in range(1000)]
    assert sorted(ids) == ids
    assert len(set(ids)) == 1000


@pytest.mark.parametrize("record_id", ["", "nobody", "\0", "x" * 10_000, "' OR 1=1 --"])
def test_an_unknown_id_is_unknown_whatever_it_is(store: RecordStore, record_id: str) -> None:
    with pytest.raises(UnknownRecord):
        store.get(record_id)


def test_payloads_are_apart_and_salted(store: RecordStore) -> None:
    one, two = Payload("image", "application/x-npy", b"same"), Payload("x", "text/plain", b"same")
    record = a_record(0, one, two)
    store.append([record])
    assert store.payload(record.id, "image") == b"same"
    # Equal contents do not show as equal commitments: the salt hides them.
    assert one.commitment != two.commitment
    assert b"same" not in record.body
    with pytest.raises(UnknownRecord, match="no payload 'y'"):
        store.payload(record.id, "y")


def test_a_changed_payload_is_noticed_and_an_erased_one_says_so(
    store: RecordStore, path: Path
) -> None:
    record = a_record(0, Payload("image", "application/x-npy", b"pixels"))
    other = a_record(0, Payload("image", "application/x-npy", b"others"))
    store.append([record, other])
    with sqlite3.connect(path) as database:
        database.execute(
            "UPDATE payloads SET content = (SELECT content FROM payloads WHERE record_id = ?) "
            "WHERE record_id = ?", (other.id, record.id),
        )  # fmt: skip
    with pytest.raises(Conflict, match="not what the record committed to"):
        store.payload(record.id, "image")
    with sqlite3.connect(path) as database:
        database.execute("UPDATE payloads SET content = NULL WHERE record_id = ?", (record.id,))
    with pytest.raises(Conflict, match="erased"):
        store.payload(record.id, "image")
    database.close()


def test_a_group_is_written_whole_or_not_at_all(store: RecordStore) -> None:
    first = a_record(1)
    store.append([first])
    fresh = a_record(2)
    with pytest.raises(Exception, match="UNIQUE"):
        store.append([fresh, first])
    with pytest.raises(UnknownRecord):
        store.get(fresh.id)


@pytest.mark.usefixtures("store")
def test_a_newer_schema_is_refused(path: Path) -> None:
    engine = create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        connection.execute(text("UPDATE schema_version SET version = 99"))
    engine.dispose()
    with pytest.raises(StoreError, match="schema 99"):
        RecordStore(f"sqlite:///{path}")


def test_sqlite_is_durable_and_lets_readers_in(store: RecordStore) -> None:
    with store._engine.connect() as connection:  # what the store's own connections are set to
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2  # FULL
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1


def test_the_writer_answers_only_for_what_is_on_disk(store: RecordStore, path: Path) -> None:
    writer = RecordWriter(store)
    records = [a_record(n) for n in range(200)]
    for done in [writer.append(record) for record in records]:
        done.result(timeout=10)
    with sqlite3.connect(path) as database:
        assert database.execute("SELECT count(*) FROM records").fetchone() == (200,)
    database.close()
    writer.close()
    with pytest.raises(Unavailable, match="closed"):
        writer.append(a_record())


def test_closing_writes_what_waits(store: RecordStore) -> None:
    writer = RecordWriter(store)
    records = [a_record(n) for n in range(500)]
    futures = [writer.append(record) for record in records]
    writer.close()
    assert all(future.done() for future in futures)
    assert store.get(records[-1].id).sequence == 500


@pytest.mark.usefixtures("store")
def test_a_full_queue_is_refused_and_a_locked_database_is_said(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.audit.store.BUSY_MS", 50)
    impatient = RecordStore(f"sqlite:///{path}")
    writer = RecordWriter(impatient, max_pending=2)
    blocker = sqlite3.connect(path, isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    # One may already be with the writing thread; two wait; the next is one too many.
    accepted = [writer.append(a_record(0))]
    while writer._queue.qsize():
        time.sleep(0.01)
    accepted += [writer.append(a_record(1)), writer.append(a_record(2))]
    with pytest.raises(Overloaded, match="wait to be written"):
        writer.append(a_record(3))
    for future in accepted:
        with pytest.raises(Unavailable, match="database is locked"):
            future.result(timeout=10)
    blocker.execute("ROLLBACK")
    blocker.close()
    after = a_record(11)
    writer.append(after).result(timeout=10)
    assert impatient.get(after.id).sequence == 1  # nothing of the refused ones is there
    writer.close()
    impatient.close()


def test_a_record_with_nan_is_refused_before_it_is_queued() -> None:
    with pytest.raises(ValueError, match="nan"):
        build("prediction", new_id(), datetime.now(UTC), {"x": float("nan")}, {})

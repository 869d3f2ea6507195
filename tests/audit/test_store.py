"""Records come back as they were written, payloads are checked, nothing is half there."""

from __future__ import annotations

import hashlib
import json
import sqlite3
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pytest
import rfc8785
from sqlalchemy import create_engine, text

from service.audit.log_writer import LogWriter
from service.audit.record import Payload, Record, build, new_id, timestamp
from service.audit.store import RecordStore
from service.errors import Conflict, StoreError, Unavailable, UnknownRecord
from tests.audit.logs import a_log


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "folder" / "records.db"


@pytest.fixture
def log(path: Path) -> Iterator[LogWriter]:
    opened = a_log(path)
    yield opened
    opened.store.close()


@pytest.fixture
def store(log: LogWriter) -> RecordStore:
    return log.store


def a_record(number: int = 0, *payloads: Payload) -> Record:
    content = {"number": number, "text": "Prüfling Ω"}
    return build("prediction", new_id(), datetime.now(UTC), content, {"model": "m"}, payloads)


def test_a_record_comes_back_as_canonical_bytes_with_their_digest(
    log: LogWriter, store: RecordStore
) -> None:
    record = a_record(7)
    log.append([record])
    got = store.get(record.id)
    assert got.body == record.body
    assert rfc8785.dumps(json.loads(got.body)) == got.body
    assert got.sha256 == hashlib.sha256(got.body).hexdigest()
    assert (got.sequence, got.kind) == (1, "prediction")


def test_sequence_numbers_follow_the_order_of_writing(log: LogWriter, store: RecordStore) -> None:
    group = [a_record(n) for n in range(5)]
    log.append(group)
    assert [store.get(r.id).sequence for r in group] == [1, 2, 3, 4, 5]


def test_ids_sort_by_time() -> None:
    ids = [new_id() for _ in range(1000)]
    assert sorted(ids) == ids
    assert len(set(ids)) == 1000


@pytest.mark.parametrize(
    "record_id",
    [
        "", "nobody", "\0", "x" * 10_000, "' OR 1=1 --", "\ud800",
        "01890a5d-ac96-774b-bcce-b302099a8057", "01890a5d-ac96-774b-bcce-b302099a8057\n",
        "01890A5D-AC96-774B-BCCE-B302099A8057",
    ],
)  # fmt: skip
def test_an_unknown_id_is_unknown_whatever_it_is(store: RecordStore, record_id: str) -> None:
    with pytest.raises(UnknownRecord, match="no record has the id") as caught:
        store.get(record_id)
    assert len(str(caught.value).encode()) < 600  # it goes to the caller: short, and UTF-8
    with pytest.raises(UnknownRecord):
        store.payload(record_id, "image")


def test_payloads_are_apart_and_salted(log: LogWriter, store: RecordStore) -> None:
    one, two = Payload("image", "application/x-npy", b"same"), Payload("x", "text/plain", b"same")
    record = a_record(0, one, two)
    log.append([record])
    assert store.payload(record.id, "image") == b"same"
    # Equal contents do not show as equal commitments: the salt hides them.
    assert one.commitment != two.commitment
    assert b"same" not in record.body
    with pytest.raises(UnknownRecord, match="no payload 'y'"):
        store.payload(record.id, "y")


def test_a_changed_payload_is_noticed_and_an_erased_one_says_so(
    log: LogWriter, store: RecordStore, path: Path
) -> None:
    record = a_record(0, Payload("image", "application/x-npy", b"pixels"))
    other = a_record(0, Payload("image", "application/x-npy", b"others"))
    log.append([record, other])
    with sqlite3.connect(path) as database:
        database.execute(
            "UPDATE payloads SET content = (SELECT content FROM payloads WHERE record_id = ?) "
            "WHERE record_id = ?", (other.id, record.id),
        )  # fmt: skip
    with pytest.raises(Conflict, match="not what the record committed to"):
        store.payload(record.id, "image")
    with sqlite3.connect(path) as database:
        database.execute("UPDATE payloads SET content = x'00' WHERE record_id = ?", (record.id,))
    with pytest.raises(Conflict, match="damaged"):
        store.payload(record.id, "image")
    with sqlite3.connect(path) as database:
        database.execute("UPDATE payloads SET content = NULL WHERE record_id = ?", (record.id,))
    with pytest.raises(Conflict, match="erased"):
        store.payload(record.id, "image")
    database.close()


def test_a_group_is_written_whole_or_not_at_all(log: LogWriter, store: RecordStore) -> None:
    first = a_record(1)
    log.append([first])
    fresh = a_record(2)
    with pytest.raises(Exception, match="UNIQUE"):
        log.append([fresh, first])
    with pytest.raises(UnknownRecord):
        store.get(fresh.id)


@pytest.mark.usefixtures("store")
def test_a_newer_schema_is_refused(path: Path) -> None:
    engine = create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    engine.dispose()
    with pytest.raises(StoreError, match="schema 9999"):
        RecordStore(f"sqlite:///{path}")


def test_sqlite_is_durable_and_lets_readers_in(store: RecordStore) -> None:
    with store.engine.connect() as connection:  # what the store's own connections are set to
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2  # FULL
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1


@pytest.mark.parametrize(
    ("url", "driver"),
    [
        ("nonsense", "nonsense"),
        ("foo://secret@host/x", "foo"),
        ("mssql+none://u:secret@h/x", "mssql"),
    ],
)
def test_a_url_that_cannot_be_used_is_refused_without_its_password(url: str, driver: str) -> None:
    with pytest.raises(StoreError, match=rf"starts with '{driver}") as caught:
        RecordStore(url)
    assert "secret" not in str(caught.value)


def test_a_folder_or_file_that_cannot_be_a_database_is_unavailable(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"no database" * 500)
    with pytest.raises(Unavailable, match="not a database"):
        RecordStore(f"sqlite:///{file}")
    with pytest.raises(Unavailable, match="cannot be opened"):
        RecordStore(f"sqlite:///{file}/below/records.db")


def test_times_are_utc_whatever_clock_they_were_read_on(log: LogWriter, path: Path) -> None:
    moment = datetime(2026, 1, 1, 2, 30, 0, 7, tzinfo=timezone(timedelta(hours=5)))
    assert timestamp(moment) == "2025-12-31T21:30:00.000007Z"
    assert timestamp(datetime(2026, 1, 1, tzinfo=UTC)) == "2026-01-01T00:00:00.000000Z"
    log.append([build("prediction", new_id(), moment, {}, {})])
    with sqlite3.connect(path) as database:
        (stored,) = database.execute("SELECT created_at FROM records").fetchone()
    database.close()
    assert stored == "2025-12-31 21:30:00.000007"


def test_a_commitment_is_the_digest_of_salt_and_content() -> None:
    payload = Payload("x", "text/plain", b"abc", salt=bytes(16))
    assert payload.commitment == hashlib.sha256(bytes(16) + b"abc").hexdigest()
    assert len({Payload("x", "text/plain", b"").salt for _ in range(100)}) == 100


def test_a_record_with_nan_is_refused_before_it_is_queued() -> None:
    with pytest.raises(ValueError, match="nan"):
        build("prediction", new_id(), datetime.now(UTC), {"x": float("nan")}, {})


@pytest.mark.parametrize(
    ("content", "smaller"),
    [
        (np.random.default_rng(0).normal(size=60_000).astype("<f4").tobytes(), False),
        (np.arange(60_000, dtype="<i4").tobytes(), True),
        (bytes(4096), True),
    ],
)
def test_payloads_are_compressed_where_it_is_worth_it_and_are_the_same_either_way(
    content: bytes, smaller: bool
) -> None:
    payload = Payload("window", "application/x-npy", content)
    moment = datetime.now(UTC)
    record = build("prediction", new_id(), moment, {}, {}, (payload,))
    (row,) = record.payload_rows()
    assert zlib.decompress(row["content"]) == content
    assert (len(row["content"]) < 0.9 * len(content)) is smaller

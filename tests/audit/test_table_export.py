"""Files of a search: a page at a time, whole, and with nothing that came meanwhile."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest
from sqlalchemy import Connection, create_engine, insert

from service.audit import schema
from service.audit.record import build, new_id
from service.audit.search import Query
from service.audit.store import RecordStore
from service.audit.table_export import csv_of, pages, parquet_of
from tests.audit.logs import database_of

#: Ids are made now, and records are found by time through their ids.
BEGIN = datetime.now(UTC).replace(microsecond=0)
RECORDS = 2500


def write(connection: Connection, numbers: range) -> None:
    rows = []
    for number in numbers:
        moment = BEGIN + timedelta(seconds=number)
        columns = {"model": "m", "decision": "=1+1", "score": number / 7}
        row = build("prediction", new_id(), moment, {"n": number}, columns).row()
        rows.append({"sequence": number + 1, **row})
    connection.execute(insert(schema.records), rows)


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    yield from database_of(request.param, tmp_path)


@pytest.fixture
def store(database: str) -> Iterator[RecordStore]:
    opened = RecordStore(database)
    engine = create_engine(database)
    with engine.begin() as connection:
        write(connection, range(RECORDS))
    engine.dispose()
    yield opened
    opened.close()


@pytest.mark.parametrize("order", ["newest", "oldest"])
def test_a_file_holds_every_record_once_over_all_pages(store: RecordStore, order: Any) -> None:
    query = Query(order=order)
    chunks = list(csv_of(pages(store, query)))
    assert len(chunks) == 3
    table = list(csv.DictReader(io.StringIO(b"".join(chunks).decode())))
    sequences = [int(row["sequence"]) for row in table]
    assert sorted(sequences) == list(range(1, RECORDS + 1))
    assert sequences == sorted(sequences, reverse=order == "newest")
    written = b"".join(parquet_of(pages(store, query)))
    columnar = pyarrow.parquet.ParquetFile(io.BytesIO(written))
    assert columnar.num_row_groups == 3
    rows = columnar.read().to_pylist()
    assert [row["sequence"] for row in rows] == sequences
    assert {row["created_at"] for row in rows} == {
        BEGIN + timedelta(seconds=n) for n in range(2500)
    }
    # doubles to the bit; CSV writes the shortest decimal that leads to the same
    assert [float(row["score"]) for row in table] == [row["score"] for row in rows]


def test_text_that_a_spreadsheet_would_run_is_led_by_an_apostrophe(store: RecordStore) -> None:
    (row, *_) = csv.DictReader(io.StringIO(b"".join(csv_of(pages(store, Query()))).decode()))
    assert row["decision"] == "'=1+1"
    written = b"".join(parquet_of(pages(store, Query(score_max=0.0))))
    (exact,) = pyarrow.parquet.read_table(io.BytesIO(written)).to_pylist()
    assert exact["decision"] == "=1+1"


def test_what_is_written_meanwhile_is_left_out(store: RecordStore, database: str) -> None:
    engine = create_engine(database)
    count, start = 0, RECORDS
    for page in pages(store, Query(order="oldest")):
        count += len(page)
        with engine.begin() as connection:  # faster than it is read
            write(connection, range(start, start := start + 2000))
    engine.dispose()
    assert count == RECORDS


def test_the_filters_find_the_same_on_every_database(store: RecordStore) -> None:
    def count(**filters: Any) -> int:
        return sum(len(page) for page in pages(store, Query(**filters)))

    assert count(since=BEGIN + timedelta(seconds=10), until=BEGIN + timedelta(seconds=30)) == 20
    assert count(score_min=10 / 7, score_max=20 / 7) == 11
    assert count(decision="=1+1", model="m", kind="prediction") == RECORDS
    assert count(review="none") == RECORDS
    assert count(review="override") == 0

"""Stores that an older Glassline wrote are brought forward whole; newer ones are left alone."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from pymerkle import InmemoryTree
from sqlalchemy import create_engine, text

from service.audit import log_writer, schema, search
from service.audit.bundle import bundle
from service.audit.log import AuditLog
from service.audit.log_writer import LogWriter
from service.audit.migration import configured
from service.audit.record import Payload, Record, build
from service.audit.store import RecordStore
from service.errors import StoreError
from tests.audit.evidence import NOW, a_record
from tests.audit.logs import a_keyholder, database_of


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    yield from database_of(request.param, tmp_path)


def written_by_the_first_version(url: str, records: list[Record]) -> None:
    """The store as it was before there were migrations; each third number is left out."""
    engine = create_engine(url)
    with engine.begin() as connection:
        command.upgrade(configured(connection), "0001")
        connection.execute(text("DROP TABLE alembic_version"))
        connection.execute(text("INSERT INTO schema_version VALUES (1)"))
        for number, record in enumerate(records):
            row = record.row() | {"sequence": number + number // 3 + 1}
            del row["rare_kind"]
            names = ", ".join(row)
            values = ", ".join(f":{name}" for name in row)
            connection.execute(text(f"INSERT INTO records ({names}) VALUES ({values})"), row)
            for payload in record.payload_rows():
                values = ", ".join(f":{name}" for name in payload)
                names = ", ".join(payload)
                connection.execute(
                    text(f"INSERT INTO payloads ({names}) VALUES ({values})"), payload
                )
    engine.dispose()


def test_the_records_of_an_old_store_are_in_the_tree_signed_and_proved(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = [a_record(n, Payload("x", "text/plain", b"input %d" % n)) for n in range(25)]
    written_by_the_first_version(url, old)
    monkeypatch.setattr(log_writer, "CHUNK", 10)  # more than are taken in one transaction
    writer = LogWriter(RecordStore(url), a_keyholder(tmp_path), "log.example/old")
    fresh = a_record(99)
    writer.append([fresh])
    oracle = InmemoryTree(algorithm="sha256")
    for record in [*old, fresh]:
        oracle.append_entry(record.body)
    log = AuditLog(writer.store)
    assert log.root() == oracle.get_root()
    for index, record in enumerate([*old, fresh]):
        evidence = log.evidence(record.id)
        assert evidence.index == index
        bundle(evidence)
    assert writer.store.payload(old[7].id, "x") == b"input 7"
    writer.store.close()


def test_the_steps_make_the_tables_that_the_code_knows(url: str) -> None:
    store = RecordStore(url)
    with store.engine.connect() as connection:
        found = compare_metadata(MigrationContext.configure(connection), schema.metadata)
        script = ScriptDirectory.from_config(configured(connection))
    assert found == []
    assert script.get_current_head() == schema.REVISION
    store.close()


def test_what_is_no_prediction_is_found_by_an_index_that_predictions_are_not_in(url: str) -> None:
    records = [a_record(n) for n in range(50)]
    records[7] = build("review", records[7].id, NOW, {}, {})
    written_by_the_first_version(url, records)
    store = RecordStore(url)
    wanted = search.statement(search.Query(kind="review"), 10)
    assert [row.id for row in store.rows(wanted)] == [records[7].id]
    compiled = wanted.compile(store.engine, compile_kwargs={"literal_binds": True})
    with store.engine.connect() as connection:
        if store.engine.dialect.name == "sqlite":
            plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {compiled}").all()
        else:  # a table of fifty rows is read whole, unless that is forbidden
            connection.exec_driver_sql("SET enable_seqscan = off")
            plan = connection.exec_driver_sql(f"EXPLAIN {compiled}").all()
    assert "records_by_rare_kind" in str(plan)
    store.close()


def test_several_processes_may_bring_it_forward_at_once(url: str) -> None:
    written_by_the_first_version(url, [a_record(n) for n in range(3)])
    failed: list[BaseException] = []

    def start() -> None:
        try:
            RecordStore(url).close()
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=start) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed


def test_a_newer_store_is_refused_and_an_older_glassline_refuses_this_one(url: str) -> None:
    store = RecordStore(url)
    with store.engine.begin() as connection:
        # where programs look that are from before there were migrations
        assert connection.execute(text("SELECT version FROM schema_version")).scalar() == 2
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    store.close()
    with pytest.raises(StoreError, match="has schema 9999, this Glassline knows"):
        RecordStore(url)

"""What the sequencer has acknowledged is in the log, and the log proves it, on both databases."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from pymerkle import InmemoryTree
from sqlalchemy import text

from service.audit.bundle import Erased, Present, Withheld, bundle
from service.audit.checkpoint import Checkpoint
from service.audit.log import AuditLog
from service.audit.log_export import export_log
from service.audit.log_writer import LogWriter
from service.audit.merkle_proof import verify_consistency, verify_inclusion
from service.audit.record import Payload
from service.audit.store import RecordStore
from service.errors import Conflict, CorruptLog, InvalidParameter, KeyRefused, UnknownRecord
from tests.audit.evidence import a_record, verified
from tests.audit.logs import a_keyholder, database_of


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    yield from database_of(request.param, tmp_path)


@pytest.fixture
def writer(url: str, tmp_path: Path) -> Iterator[LogWriter]:
    opened = LogWriter(RecordStore(url), a_keyholder(tmp_path), "log.example/line-3")
    yield opened
    opened.store.close()


@pytest.fixture
def log(writer: LogWriter) -> AuditLog:
    return AuditLog(writer.store)


def test_every_group_ends_in_a_signed_checkpoint_with_the_root_that_pymerkle_finds(
    writer: LogWriter, log: AuditLog
) -> None:
    oracle = InmemoryTree(algorithm="sha256")
    earlier = [log.checkpoint()]
    for size in (1, 2, 255, 3, 300):
        group = [a_record(number) for number in range(size)]
        writer.append(group)
        for record in group:
            oracle.append_entry(record.body)
        note = log.checkpoint()
        assert note.signed_by(log.keys().active())
        said = Checkpoint.parse(note.text)
        assert (said.origin, said.size) == ("log.example/line-3", oracle.get_size())
        assert said.root == oracle.get_root()
        earlier.append(note)
    for note in earlier:
        old = Checkpoint.parse(note.text)
        path = log.consistency(old.size, said.size)
        verify_consistency(old.size, old.root, said.size, said.root, path)


def test_every_record_is_proved_by_a_bundle_that_a_stranger_verifies(
    writer: LogWriter, log: AuditLog, tmp_path: Path
) -> None:
    group = [a_record(n, Payload("x", "text/plain", b"input %d" % n)) for n in range(70)]
    writer.append(group[:40])
    writer.append(group[40:])
    for index, record in enumerate(group):
        evidence = log.evidence(record.id)
        assert (evidence.index, evidence.body) == (index, record.body)
        said = Checkpoint.parse(evidence.checkpoint.text)
        verify_inclusion(record.body, index, said.size, evidence.path, said.root)
        zipped = bundle(evidence)  # checks all parts against each other
    (tmp_path / "one.zip").write_bytes(zipped)
    code, said_of_it = verified(tmp_path / "one.zip")
    assert code == 0, said_of_it


def test_a_whole_log_is_exported_and_verified(
    writer: LogWriter, log: AuditLog, tmp_path: Path
) -> None:
    writer.append([a_record(n) for n in range(1500)])  # more than are read at a time
    export_log(tmp_path / "log", log.leaves(), log.checkpoint(), log.keys())
    code, said = verified(tmp_path / "log", "--signatures", "3")
    assert code == 0, said


def test_payloads_of_the_evidence_are_present_withheld_or_erased(
    writer: LogWriter, log: AuditLog
) -> None:
    payloads = [Payload(name, "text/plain", name.encode()) for name in "abc"]
    record = a_record(1, *payloads)
    writer.append([record])
    with writer.store.engine.begin() as connection:
        connection.execute(
            text("UPDATE payloads SET content = NULL, salt = NULL, erased_at = '2026-01-02' "
                 "WHERE name = 'b'")
        )  # fmt: skip
    a, b, c = log.evidence(record.id, withheld=["c", "b"]).payloads
    assert a == Present("a", b"a", payloads[0].salt)
    assert isinstance(b, Erased)
    assert b.at.isoformat() == "2026-01-02T00:00:00+00:00"
    assert c == Withheld("c")
    with writer.store.engine.begin() as connection:
        connection.execute(text("DELETE FROM payloads WHERE name = 'a'"))
    with pytest.raises(CorruptLog, match="payload 'a' is not in the store"):
        log.evidence(record.id)


def test_two_writers_of_one_log_continue_each_other(
    writer: LogWriter, log: AuditLog, url: str, tmp_path: Path
) -> None:
    other = LogWriter(RecordStore(url), a_keyholder(tmp_path))
    oracle = InmemoryTree(algorithm="sha256")
    for number in range(20):
        group = [a_record(number), a_record(number)]
        (writer, other)[number % 2].append(group)
        for record in group:
            oracle.append_entry(record.body)
    other.store.close()
    assert log.root() == oracle.get_root()


def test_a_group_that_fails_leaves_the_log_as_it_was(writer: LogWriter, log: AuditLog) -> None:
    first = a_record(1)
    writer.append([first])
    before = log.checkpoint()
    with pytest.raises(Exception, match=r"(?i)unique"):
        writer.append([a_record(2), first])
    assert log.checkpoint() == before
    writer.append([a_record(3)])
    assert [body for body, _ in log.leaves()][0] == first.body
    assert log.size() == 2
    assert Checkpoint.parse(log.checkpoint().text).root == log.root()


def test_places_and_sizes_that_the_log_never_had_are_refused(
    writer: LogWriter, log: AuditLog
) -> None:
    writer.append([a_record(n) for n in range(5)])
    with pytest.raises(InvalidParameter, match="index 5"):
        log.inclusion(5)
    with pytest.raises(InvalidParameter, match="size 6"):
        log.consistency(1, 6)
    with pytest.raises(UnknownRecord):
        log.evidence("01890a5d-ac96-774b-bcce-b302099a8057")


@pytest.mark.usefixtures("writer")
def test_a_log_is_not_continued_with_another_key(url: str, tmp_path: Path) -> None:
    store = RecordStore(url)
    with pytest.raises(KeyRefused, match="need the same key: copy the file"):
        LogWriter(store, a_keyholder(tmp_path / "elsewhere")).start()
    (file,) = (tmp_path / "keys").iterdir()
    assert file.stat().st_mode & 0o777 == 0o600
    file.chmod(0o640)
    with pytest.raises(KeyRefused, match="mode 0640"):
        LogWriter(store, a_keyholder(tmp_path)).start()
    store.close()


def test_what_a_revoked_key_signed_too_late_has_no_evidence(
    writer: LogWriter, log: AuditLog
) -> None:
    records = [a_record(n) for n in range(3)]
    writer.append(records)
    keys = log.keys()
    revoked = keys.revoked(keys.keys[0].keyid, 2, records[0].created_at, "stolen")
    with writer.store.engine.begin() as connection:
        connection.execute(
            text("UPDATE log SET key_set = :said"), {"said": revoked.to_json().decode()}
        )
    log.evidence(records[1].id)
    with pytest.raises(Conflict, match="revoked when the log had 2 records"):
        log.evidence(records[2].id)

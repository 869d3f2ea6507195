"""kill -9 under load: whatever was acknowledged is there, and the database opens."""

from __future__ import annotations

import hashlib
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from service.audit.store import RecordStore
from service.settings import Settings
from tests.audit.logs import database_of
from tests.bench.kills import Rounds
from tests.running_server import REPOSITORY

WRITER = """
import sys
from datetime import UTC, datetime
from service.audit.record import Payload, build, new_id
from service.audit.log_writer import LogWriter
from service.audit.writer import RecordWriter
from service.settings import Settings

writer = RecordWriter(LogWriter.of(Settings(home=sys.argv[1])))
while True:
    group = [
        build("prediction", new_id(), datetime.now(UTC), {"n": n}, {},
              (Payload("x", "text/plain", b"input" * 50),))
        for n in range(20)
    ]
    futures = [(record.id, writer.append(record)) for record in group]
    for record_id, future in futures:
        future.result()
        print(record_id, flush=True)
"""


def test_no_acknowledged_record_is_lost(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'records.db'}"
    acknowledged: list[str] = []
    for round_ in range(5):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path)],
            cwd=REPOSITORY,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert writer.stdout
        for _ in range(30 + 17 * round_):
            acknowledged.append(writer.stdout.readline().strip())
        writer.send_signal(signal.SIGKILL)
        acknowledged += [line.strip() for line in writer.stdout if len(line) == 37]
        writer.stdout.close()
        writer.wait()
    assert len(acknowledged) > 300
    store = RecordStore(url)
    for record_id in acknowledged:
        assert store.payload(record_id, "x") == b"input" * 50
        assert store.get(record_id).sha256 == hashlib.sha256(store.get(record_id).body).hexdigest()
    store.close()
    database = sqlite3.connect(tmp_path / "records.db")
    assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    # A record and its payload stand together or not at all, the unacknowledged ones too.
    assert database.execute(
        "SELECT count(*) FROM records LEFT JOIN payloads ON record_id = id WHERE content IS NULL"
    ).fetchone() == (0,)
    database.close()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_the_log_holds_whoever_is_killed(kind: str, tmp_path: Path) -> None:
    """The sequencer, a server under load, or both; `tests/bench/kills.py` does it 200 times."""
    for url in database_of(kind, tmp_path):
        rounds = Rounds(Settings(home=tmp_path, database_url=url))
        for number in (0, 8, 9):
            rounds.run(number)
        said = rounds.close()
    assert said["servers_killed"] == 2
    assert rounds.killed["sequencer"] >= 2
    assert rounds.acknowledged >= 15

"""Writing processes take turns, and nobody can stop the others by not moving on."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from service.audit.record import build, new_id
from service.audit.turnstile import Turnstile
from tests.audit.logs import a_log
from tests.running_server import REPOSITORY

HOLDER = """
import sys, time
from pathlib import Path
from service.audit.turnstile import Turnstile
from tests.audit.logs import a_log
with Turnstile(Path(sys.argv[1]), 10).turn():
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "records.db-turn"


def holder(path: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout
    assert process.stdout.readline() == "held\n"
    return process


def waited(turnstile: Turnstile) -> float:
    start = time.monotonic()
    with turnstile.turn():
        return time.monotonic() - start


def test_a_taken_turnstile_is_waited_for_and_its_dead_holder_is_not(path: Path) -> None:
    turnstile = Turnstile(path, patience_s=0.2)
    assert waited(turnstile) < 0.1
    process = holder(path)
    assert waited(turnstile) >= 0.2
    process.kill()
    process.communicate()
    assert waited(turnstile) < 0.1
    turnstile.close()


def test_one_process_that_gives_its_turn_back_lets_another_in(path: Path) -> None:
    first, second = Turnstile(path, 10), Turnstile(path, 0.1)
    with first.turn():
        assert waited(second) >= 0.1
    assert waited(second) < 0.1
    # Patience that ran out took no lock, so it gave none back that was not its own.
    with first.turn():
        assert waited(second) >= 0.1
        assert waited(second) >= 0.1
    first.close()
    second.close()


def test_records_are_written_although_another_process_is_stopped_at_the_turnstile(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.audit.store.BUSY_MS", 100)
    log = a_log(path.with_name("records.db"))
    process = holder(path)
    process.send_signal(signal.SIGSTOP)
    record = build("prediction", new_id(), datetime.now(UTC), {}, {})
    log.append([record])
    assert log.store.get(record.id).body == record.body
    process.kill()
    process.communicate()
    log.store.close()

"""Readiness is honest about dead processes, and says when the server is leaving."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from service.crew import Crew
from service.errors import Unavailable
from tests.running_server import Server, start_server
from tests.test_boundaries import descendants

PNG = {"content-type": "image/png"}
INFER = "/v2/models/lenet-digits/infer"


def test_a_dead_process_is_missed_even_before_its_parent_took_note(tmp_path: Path) -> None:
    crew = Crew(tmp_path, 1, 2)
    crew.join()
    with pytest.raises(Unavailable, match="1 of 2 predicting processes"):
        crew.check()
    other = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    (tmp_path / "run" / "1" / str(other.pid)).touch()
    crew.check()
    other.kill()
    time.sleep(0.2)  # dead, and not yet waited for: a zombie
    with pytest.raises(Unavailable, match="1 of 2"):
        crew.check()
    other.communicate()


def test_who_leaves_is_missed_and_a_leaving_server_says_so(tmp_path: Path) -> None:
    crew = Crew(tmp_path, 1, 1)
    crew.join()
    crew.check()
    crew.drain()
    with pytest.raises(Unavailable, match="stopping"):
        crew.check()
    crew.disband()
    assert not (tmp_path / "run" / "1").exists()


def test_a_crew_that_is_called_off_waits_for_everybody_alive_to_shut(tmp_path: Path) -> None:
    crew = Crew(tmp_path, 1, 2)
    crew.join()
    other = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    (tmp_path / "run" / "1" / str(other.pid)).touch()
    assert not crew.leaving
    crew.call_off()
    assert (crew.leaving, crew.draining) == (True, True)
    crew.shut()
    assert not crew.all_shut
    other.kill()
    other.communicate()
    assert (crew.all_shut, crew.gone) == (True, False)
    crew.leave()
    assert crew.gone
    crew.disband()
    assert not (tmp_path / "run" / "1").exists()


@pytest.fixture
def own_server(home: Path, tmp_path: Path) -> Iterator[Server]:
    """Two workers that take two seconds to leave."""
    running = start_server(
        home,
        tmp_path / "log",
        GLASSLINE_WORKERS="2",
        GLASSLINE_DRAIN_S="2",
        GLASSLINE_DATABASE_URL=f"sqlite:///{tmp_path / 'records.db'}",
    )
    yield running
    if running.process.poll() is None:
        running.stop()


def predicting_processes(server: Server) -> list[int]:
    return [
        pid
        for pid in descendants(server.process.pid)
        if b"--service-name\0glassline\0" in Path(f"/proc/{pid}/cmdline").read_bytes()
    ]


@pytest.mark.slow
def test_a_killed_worker_is_told_and_replaced_and_a_stop_drains(
    own_server: Server, digit_png: bytes
) -> None:
    with httpx.Client(base_url=own_server.url, trust_env=False) as client:
        first, _ = predicting_processes(own_server)
        os.kill(first, signal.SIGKILL)
        told = until(client, 503)
        assert "1 of 2 predicting processes are up" in told.json()["error"]
        own_server.wait_ready(60)
        assert first not in predicting_processes(own_server)
        own_server.process.send_signal(signal.SIGTERM)
        told = until(client, 503)
        assert "stopping" in told.json()["error"]
        time.sleep(0.6)  # each process looks twice a second
        still = client.post(INFER, content=digit_png, headers=PNG)
        assert (still.status_code, still.headers["connection"]) == (200, "close")
    assert own_server.process.wait(30) == 0


def until(client: httpx.Client, status: int) -> httpx.Response:
    deadline = time.monotonic() + 20
    while True:
        try:
            answer = client.get("/readyz")
        except httpx.TransportError:
            continue  # it asked the very process that died
        if answer.status_code == status:
            return answer
        assert time.monotonic() < deadline, answer.status_code
        time.sleep(0.02)

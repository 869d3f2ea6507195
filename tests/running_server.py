"""The command line and the server as processes of their own, as a person runs them."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
START_SECONDS = 120


def glassline(*arguments: str, home: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command line in a process of its own, as a person would."""
    return subprocess.run(
        [sys.executable, "-c", "from service.cli import main; main()", *arguments],
        env={**os.environ, "GLASSLINE_HOME": str(home), "COLUMNS": "200", **environment},
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def program(name: str) -> str | None:
    """Path of an installed program: beside this interpreter first, then on PATH."""
    beside = str(Path(sys.executable).parent)
    return shutil.which(name, path=os.pathsep.join((beside, os.environ.get("PATH", ""))))


def free_port() -> int:
    """A TCP port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Server:
    """A running `glassline serve`."""

    url: str
    home: Path
    process: subprocess.Popen[bytes]
    log: Path

    def wait_ready(self, seconds: float = START_SECONDS) -> None:
        """Until /readyz says 200."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                break
            try:
                if httpx.get(f"{self.url}/readyz", trust_env=False).status_code == 200:
                    return
            except httpx.HTTPError:
                pass
            time.sleep(0.1)
        pytest.fail(f"the server did not become ready:\n{self.log.read_text()[-4000:]}")

    def client(self, timeout: float = 60) -> httpx.Client:
        """A plain HTTP client of it, which no proxy of the environment comes between."""
        return httpx.Client(base_url=self.url, timeout=timeout, trust_env=False)

    def stop(self) -> int:
        """SIGTERM, and the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=60)


def start_server(home: Path, log: Path, **environment: str) -> Server:
    """`glassline serve`, ready to answer; on a free port unless the environment names one."""
    port = environment.setdefault("GLASSLINE_PORT", str(free_port()))
    process = glassline_process(home, log, **environment)
    server = Server(f"http://127.0.0.1:{port}", home, process, log)
    server.wait_ready()
    return server


@contextmanager
def a_server(home: Path, log: Path | None = None, **environment: str) -> Iterator[Server]:
    """A server as of `start_server`, which ends well; its log is in the home if nowhere else."""
    running = start_server(home, log or home / "server.log", **environment)
    try:
        yield running
    finally:
        code = running.stop()
    assert code == 0, running.log.read_text()[-4000:]


def glassline_process(home: Path, log: Path, **environment: str) -> subprocess.Popen[bytes]:
    """`glassline serve`, just started."""
    with log.open("wb") as sink:
        return subprocess.Popen(
            [sys.executable, "-c", "from service.cli import main; main()", "serve"],
            env={**os.environ, "GLASSLINE_HOME": str(home), "COLUMNS": "400", **environment},
            cwd=REPOSITORY,
            stdout=sink,
            stderr=subprocess.STDOUT,
        )

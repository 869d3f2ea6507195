"""A real Mosquitto, and clients that look at it."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.running_server import free_port

MOSQUITTO = shutil.which("mosquitto", path=os.pathsep.join((os.environ["PATH"], "/usr/sbin")))
needs_mosquitto = pytest.mark.skipif(
    MOSQUITTO is None, reason="NO MOSQUITTO: the bridge is not tested against a broker"
)
#: What the documentation tells people to set, and nothing more.
SETTINGS = """\
persistence true
persistence_location {folder}/
autosave_interval 1
autosave_on_changes true
max_queued_messages 1000000
max_inflight_messages 200
"""


@dataclass
class Broker:
    """Mosquitto on a port of its own; `kill` and `start` as often as is wanted."""

    folder: Path
    extra: str = "allow_anonymous true\n"
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it listens."""
        self.folder.mkdir(exist_ok=True)
        text = f"listener {self.port} 127.0.0.1\n{SETTINGS.format(folder=self.folder)}{self.extra}"
        config = self.folder / "mosquitto.conf"
        # Started by root it would change to a user that cannot write here.
        config.write_text(f"user {os.environ.get('USER', 'root')}\n{text}")
        assert MOSQUITTO is not None
        with (self.folder / "mosquitto.log").open("ab") as log:
            self.process = subprocess.Popen(
                [MOSQUITTO, "-c", str(config)], stdout=log, stderr=subprocess.STDOUT
            )
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.02)
        pytest.fail((self.folder / "mosquitto.log").read_text())

    def kill(self) -> None:
        """kill -9."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self) -> None:
        """As its administrator does it."""
        assert self.process is not None
        self.process.terminate()
        self.process.wait(timeout=20)

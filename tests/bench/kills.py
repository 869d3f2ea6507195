"""kill -9 under load: `python tests/bench/kills.py [--rounds 200] [--database URL] [--json f]`.

A process has 32 callers append records through the sequencer, as a server does, and writes down
what was acknowledged. Each round kills the sequencer, the process, or both, at a random moment.
Then everything that was acknowledged must be there, the tree over all records must have the root
that the newest checkpoint says, signed, and the log must continue that of the round before.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from rich.progress import track

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from service.audit.channel import RecordChannel
from service.audit.checkpoint import Checkpoint
from service.audit.log import AuditLog
from service.audit.merkle import MemoryNodes, MerkleTree
from service.audit.merkle_proof import verify_consistency
from service.audit.record import Payload, build, new_id
from service.audit.sequencer import socket_path
from service.audit.store import RecordStore
from service.errors import Unavailable
from service.settings import Settings

CALLERS = 32


async def load(settings: Settings, out: int) -> None:
    """Append for ever; write down each id once it is acknowledged."""
    channel = RecordChannel(socket_path(settings), settings.environment())

    async def caller() -> None:
        while True:
            payload = Payload("x", "text/plain", os.urandom(200))
            now = datetime.now(UTC)
            record = build("prediction", new_id(), now, {"n": 1}, {"model": "m"}, (payload,))
            try:
                await channel.submit(record)
                os.write(out, f"{record.id}\n".encode())
            except Unavailable:
                await asyncio.sleep(0.01)

    await asyncio.gather(*(caller() for _ in range(CALLERS)))


@dataclass
class Rounds:
    """A log under fire.

    Args:
        settings: of its home.
    """

    settings: Settings
    acknowledged: int = 0
    killed: dict[str, int] = field(default_factory=lambda: {"sequencer": 0, "server": 0})
    _tree: MerkleTree = field(default_factory=lambda: MerkleTree(MemoryNodes()))

    def __post_init__(self) -> None:
        self._told = self.settings.root / "acknowledged"
        self._told.touch()
        self._read = 0
        self._store = RecordStore(self.settings.database)
        self._log = AuditLog(self._store)
        self._start()

    def _start(self) -> None:
        command = [sys.executable, __file__, "--load", str(self._told)]
        self._server = subprocess.Popen(command, env={**os.environ, **self.settings.environment()})

    def run(self, number: int) -> None:
        """Let it work, kill, look."""
        before = self._told.stat().st_size
        deadline = time.monotonic() + 120
        while self._told.stat().st_size < before + 37 * 5:  # it works again
            assert time.monotonic() < deadline, "nothing is acknowledged any more"
            time.sleep(0.01)
        time.sleep(random.random() * 0.2)
        if number % 10 != 9:
            self._kill_sequencer()
        if number % 10 in (8, 9):
            self._server.kill()
            self._server.wait()
            self.killed["server"] += 1
        self._check()
        if self._server.poll() is not None:
            self._start()

    def _kill_sequencer(self) -> None:
        home = f"GLASSLINE_HOME={self.settings.root}".encode()
        for folder in Path("/proc").iterdir():
            try:
                if b"service.audit.sequencer" not in (folder / "cmdline").read_bytes():
                    continue
                if home in (folder / "environ").read_bytes().split(b"\0"):
                    os.kill(int(folder.name), signal.SIGKILL)
                    self.killed["sequencer"] += 1
            except (OSError, ValueError):
                continue

    def _check(self) -> None:
        with self._told.open() as file:
            file.seek(self._read)
            ids = [line.strip() for line in file if line.endswith("\n")]
        note = self._log.checkpoint()
        self._read += 37 * len(ids)
        for record_id in ids:
            self._store.get(record_id)  # raises where it was lost
        self.acknowledged += len(ids)
        said = Checkpoint.parse(note.text)
        assert note.signed_by(self._log.keys().active())
        old = self._tree.size
        path = self._log.consistency(old, said.size) if old else []
        verify_consistency(old, self._tree.root(), said.size, said.root, path)
        for body, _ in self._log.leaves(said.size, old):
            self._tree.append(body)
        assert self._tree.root() == said.root, "the tree is not over what is there"

    def close(self) -> dict[str, object]:
        """End; what was seen."""
        self._server.kill()
        self._server.wait()
        time.sleep(2)  # the sequencer goes, having nobody to write for
        self._check()
        payloads = "SELECT count(*) FROM records LEFT JOIN payloads ON record_id = id"
        with self._store.engine.connect() as connection:
            torn = connection.exec_driver_sql(f"{payloads} WHERE content IS NULL").scalar()
        self._store.close()
        assert torn == 0, "a record without its payload"
        return {
            **{f"{name}s_killed": count for name, count in self.killed.items()},
            "acknowledged": self.acknowledged,
            "in_the_log": self._tree.size,
            "lost": 0,
        }


def main() -> None:
    """Kill, look, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--database", default="", help="SQLAlchemy URL of an empty database")
    parser.add_argument("--json", type=Path, help="also write what was seen here")
    parser.add_argument("--load", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.load:
        out = os.open(options.load, os.O_WRONLY | os.O_APPEND)
        asyncio.run(load(Settings(), out))
    with tempfile.TemporaryDirectory() as home:
        settings = Settings(home=Path(home), database_url=options.database)
        rounds = Rounds(settings)
        for number in track(range(options.rounds), "killing"):
            rounds.run(number)
        said = rounds.close()
    text = json.dumps({"rounds": options.rounds, **said}, indent=1)
    print(text)
    if options.json:
        options.json.write_text(text)


if __name__ == "__main__":
    main()

"""kill -9 of the server mid-stream: `python tests/bench/stream_kills.py [--rounds 100]`.

A server with two predicting processes takes rows of a few streams; each round kills the one that
owns them at a random moment, while rows are on their way, and every tenth round all processes of
the server, which is then started again. Whoever got no answer sends again. In the end every row
must have been taken in once, and the alarm log of each stream must be, byte for byte, that of the
same rows run through once without a server. A follower of the alarm feed, which resumes where it
was cut off, must have been told each event once, and each alarm must have one record.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sqlite3
import sys
import tempfile
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import orjson

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from service.anomaly.stream_config import StreamConfig
from service.anomaly.times import microseconds
from service.backfill.recording import Recording
from service.backfill.run import replayed
from service.inference.registry import Registry
from service.store import ModelStore
from service.streaming.scoring import Scorer
from tests.running_server import Server, start_server
from tests.small_detector import SENSORS, release_detector

STREAMS = ("L1.a", "L1.b", "L2.a")
SETTINGS = {
    "rate": 0.02, "warm_up_rows": 20, "on_delay_s": 2, "off_delay_s": 3, "period_s": 1,
    "lateness_s": 5,
}  # fmt: skip
ROWS_A_REQUEST = 4
#: Every so many rounds all processes are killed, not the owner of the streams alone.
ALL_EVERY = 10
SECONDS_TO_RECOVER = 120


def rows(stream: int, count: int) -> tuple[list[int], np.ndarray]:
    """Times and values of a stream: noise, and a fault now and then."""
    noise = np.random.default_rng(stream).normal(size=(count, 2)).astype(np.float32) * 0.5
    at = np.arange(count)
    noise[:, 0] += np.where(at % 90 > 75, np.where(at % 2, 6, -6), 0)
    start = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=20)
    return [microseconds(start + timedelta(seconds=int(one))) for one in at], noise


class Sender(threading.Thread):
    """Sends a stream's rows in their order, each until it is acknowledged."""

    def __init__(self, server: Server, name: str, times: list[int], values: np.ndarray) -> None:
        super().__init__(daemon=True)
        self._url = f"{server.url}/v2/models/windows/streams/{name}"
        self._times, self._values = times, values
        self.acknowledged = 0
        self.repeated = 0
        self.allowed = 0

    def run(self) -> None:
        at = 0
        while at < len(self._times):
            if at >= self.allowed:
                time.sleep(0.005)
                continue
            block = range(at, min(at + ROWS_A_REQUEST, len(self._times)))
            body = [
                {
                    "time": datetime.fromtimestamp(self._times[n] / 1e6, UTC).isoformat(),
                    **{s: float(self._values[n, c]) for c, s in enumerate(SENSORS)},
                }
                for n in block
            ]
            said = self._sent(body)
            self.acknowledged += said["accepted"] + said["duplicates"]
            at = block.stop

    def _sent(self, body: list[dict[str, Any]]) -> dict[str, Any]:
        while True:
            try:
                answer = httpx.post(self._url, json=body, trust_env=False, timeout=20)
                if answer.status_code == 200:
                    said: dict[str, Any] = answer.json()
                    self.repeated += said["duplicates"]
                    return said
                assert answer.status_code in (429, 503), answer.text
            except httpx.HTTPError:
                pass
            time.sleep(0.05)


class Follower(threading.Thread):
    """Follows the alarm feed, and resumes after the last event that it was told."""

    def __init__(self, server: Server) -> None:
        super().__init__(daemon=True)
        self._url = f"{server.url}/v2/alarms"
        self.told: list[int] = []
        self.connections = 0

    def run(self) -> None:
        while True:
            headers = {
                "accept": "text/event-stream",
                "last-event-id": str(self.told[-1] if self.told else 0),
            }
            try:
                with httpx.stream(
                    "GET", self._url, headers=headers, trust_env=False, timeout=30
                ) as feed:
                    self.connections += 1
                    for line in feed.iter_lines():
                        if line.startswith("id: "):
                            self.told.append(int(line[4:]))
            except httpx.HTTPError:
                pass
            time.sleep(0.05)


def kill_all(home: Path) -> None:
    """Kill every process of the server of this home: supervisor, workers, sequencer."""
    named = f"GLASSLINE_HOME={home}".encode()
    for folder in Path("/proc").iterdir():
        try:
            if named in (folder / "environ").read_bytes().split(b"\0"):
                os.kill(int(folder.name), signal.SIGKILL)
        except (OSError, ValueError):
            continue


def owner(home: Path) -> int:
    """The process that holds the lock; 0 = none."""
    path = home / "run" / "streams.lock"
    inode = path.stat().st_ino if path.exists() else -1
    for line in Path("/proc/locks").read_text().splitlines():
        parts = line.split()
        if parts[1] == "FLOCK" and parts[5].endswith(f":{inode}"):
            return int(parts[4])
    return 0


def run(home: Path, rounds: int, rows_a_round: int, show: bool = False) -> dict[str, Any]:
    """Kill, send, compare; what was seen."""
    home = home.resolve()
    release_detector(home, "windows")
    server = start_server(home, home / "log", GLASSLINE_WORKERS="2")
    total = rounds * rows_a_round
    sent = {name: rows(at, total) for at, name in enumerate(STREAMS)}
    killed = {"owner": 0, "all": 0}
    begun = time.monotonic()
    try:
        for name in STREAMS:
            url = f"{server.url}/v2/models/windows/streams/{name}"
            assert httpx.put(url, json=SETTINGS, trust_env=False).status_code == 200
        senders = [Sender(server, name, *sent[name]) for name in STREAMS]
        follower = Follower(server)
        for one in (*senders, follower):
            one.start()
        for number in range(rounds):
            for one in senders:
                one.allowed = (number + 1) * rows_a_round
            deadline = time.monotonic() + SECONDS_TO_RECOVER
            goal = number * rows_a_round + rows_a_round // 4
            while min(one.acknowledged for one in senders) < goal:
                assert time.monotonic() < deadline, "nothing is acknowledged any more"
                time.sleep(0.005)
            time.sleep(random.random() * 0.1)
            if number % ALL_EVERY == ALL_EVERY - 1:
                kill_all(home)
                server.process.wait()
                killed["all"] += 1
                port = server.url.rpartition(":")[2]
                server = start_server(
                    home, home / "log", GLASSLINE_WORKERS="2", GLASSLINE_PORT=port
                )
            elif (victim := owner(home)) and victim != os.getpid():
                os.kill(victim, signal.SIGKILL)
                killed["owner"] += 1
                while number + 1 < rounds and owner(home) in (0, victim):
                    time.sleep(0.01)
            if show and (number + 1) % 5 == 0:
                seconds = time.monotonic() - begun
                print(f"{number + 1} of {rounds} rounds, {seconds:.0f} s, {killed}", flush=True)
        for one in senders:
            one.join(180)
            assert not one.is_alive(), "the last rows were not acknowledged"
        seconds = round(time.monotonic() - begun)
        return {"killed": killed, "seconds": seconds, **seen(server, home, senders, sent, follower)}
    finally:
        server.stop()


def alarm_log(server: Server) -> list[dict[str, Any]]:
    """All events of the server's alarm log, in their order."""
    page: list[dict[str, Any]] = []
    while True:
        after = page[-1]["id"] if page else 0
        answer = httpx.get(
            f"{server.url}/v2/alarms?limit=1000&after={after}", trust_env=False, timeout=60
        )
        more = answer.json()["events"]
        if not more:
            return page
        page += more


def records_of_alarms(home: Path, seconds: float = 120.0) -> list[str]:
    """Alarms that have a record, each as often as it has one, once nothing is owed any more."""
    deadline = time.monotonic() + seconds
    streams = sqlite3.connect(f"file:{home / 'streams.db'}?mode=ro", uri=True)
    while streams.execute("SELECT count(*) FROM owed").fetchone()[0]:
        assert time.monotonic() < deadline, "records of alarms are owed, and nobody writes them"
        time.sleep(0.2)
    records = sqlite3.connect(f"file:{home / 'records.db'}?mode=ro", uri=True)
    found = records.execute("SELECT request_id FROM records WHERE kind = 'alarm'")
    return [row[0] for row in found]


def seen(
    server: Server,
    home: Path,
    senders: list[Sender],
    sent: dict[str, tuple[list[int], np.ndarray]],
    follower: Follower,
) -> dict[str, Any]:
    """What stands in the server, held against one quiet pass."""
    scorer = Scorer(Registry(ModelStore(home), "cpu", serves=False).get("windows"))
    lost, events, equal = 0, 0, True
    page = alarm_log(server)
    for name in STREAMS:
        url = f"{server.url}/v2/models/windows/streams/{name}"
        state = httpx.get(url, trust_env=False, timeout=60).json()
        times, values = sent[name]
        lost += len(times) - state["counts"]["rows"]
        mine = [
            {k: v for k, v in one.items() if k != "id"}
            for one in page if one.get("stream") == name
        ]  # fmt: skip
        log = b"".join(orjson.dumps(one, option=orjson.OPT_SORT_KEYS) + b"\n" for one in mine)
        wanted = replayed(
            scorer, Recording(name, times, values, ()), StreamConfig.parse(SETTINGS, name), name,
            name, historical=False,
        ).log()  # fmt: skip
        events += len(mine)
        equal = equal and log == wanted
    raised = sorted(one["alarm"] for one in page if one["change"] == "raised")
    time.sleep(1)  # the feed looks five times a second
    return {
        "rows": sum(len(times) for times, _ in sent.values()),
        "lost": lost,
        "sent_again": sum(one.repeated for one in senders),
        "events": events,
        "logs_equal": equal,
        "feed_connections": follower.connections,
        "feed_equal": follower.told == [one["id"] for one in page],
        "alarms": len(raised),
        "one_record_an_alarm": sorted(records_of_alarms(home)) == raised,
    }


def main() -> None:
    """Kill, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--rows", type=int, default=60, help="rows of each stream in a round")
    parser.add_argument("--json", type=Path, help="also write what was seen here")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        said = run(Path(home), options.rounds, options.rows, show=True)
    print(json.dumps(said, indent=1))
    if options.json:
        options.json.write_text(json.dumps(said, indent=1))
    assert said["logs_equal"]
    assert said["feed_equal"]
    assert said["one_record_an_alarm"]
    assert said["lost"] == 0


if __name__ == "__main__":
    main()

"""Rows a second through the running service, and how long a row waits: 1,000 streams, 8 sensors.

    python tests/bench/streams.py [--seconds 20] [--streams 1000] [--batch 100] [--json out.json]

Starts a server of its own. Requests carry rows of many streams, as a gateway sends them; every
row is calibrated, debounced and durable before it is answered, and one stream in fifty has a fault,
whose alarm is recorded and explained. First as fast as it goes (closed loop, four connections),
then at half the goal in an open loop: a row's latency counts from when it was due, not sent.
With `--rows 10000000` so many are sent first, and the memory of the server is printed on the way.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import sys
import tempfile
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from queue import Queue
from typing import Any

import numpy as np
import orjson

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.bench import line_model
from tests.running_server import Server, start_server

#: Rows a second that are to be reached, and milliseconds of the 99th percentile at half of them.
GOAL, GOAL_MS = 8_000, 10.0
CONNECTIONS = 4
SETTINGS = {
    "period_s": 0.125, "warm_up_rows": 0, "events_per_hour": 1, "rate": 0.01, "on_delay_s": 1,
}  # fmt: skip


class Line:
    """Makes requests: one row of each of `batch` streams after the other, time going on."""

    def __init__(self, streams: int, batch: int) -> None:
        self._names = [f"L{at % 20}.s{at}" for at in range(streams)]
        self.batch = batch
        shared = line_model.rows(4096, 3)
        self._values = [[round(float(v), 4) for v in row] for row in shared]
        self._start = datetime.now(UTC) - timedelta(hours=20)
        self._moment = 0

    @property
    def groups(self) -> int:
        """Requests of a round: each is of other streams."""
        return -(-len(self._names) // self.batch)

    def requests(self, rounds: int) -> list[bytes]:
        """Bodies of `rounds` rows of every stream."""
        bodies = []
        for _ in range(rounds):
            time_ = (self._start + timedelta(seconds=0.125 * self._moment)).isoformat()
            for at in range(0, len(self._names), self.batch):
                rows = []
                for number, name in enumerate(self._names[at : at + self.batch], at):
                    values = self._values[(self._moment + 37 * number) % 4096]
                    row: dict[str, Any] = dict(zip(line_model.SENSORS, values, strict=True))
                    if number % 50 == 0 and self._moment % 100 > 80:
                        row["sensor3"] += 25.0
                    rows.append({"stream": name, "time": time_, **row})
                bodies.append(orjson.dumps(rows))
            self._moment += 1
        return bodies


def connection(server: Server) -> http.client.HTTPConnection:
    return http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=120)


def post(one: http.client.HTTPConnection, body: bytes) -> None:
    one.request("POST", "/v2/models/line/streams", body, {"content-type": "application/json"})
    answer = one.getresponse()
    said = answer.read()
    assert answer.status == 200, said[:500]


def lane_of(at: int, line: Line) -> int:
    """The connection of a request: rows of a stream must not overtake each other."""
    return at % line.groups % CONNECTIONS


def fast(server: Server, line: Line, bodies: list[bytes]) -> float:
    """Seconds to send all of them over several connections."""
    lanes: list[list[bytes]] = [[] for _ in range(CONNECTIONS)]
    for at, body in enumerate(bodies):
        lanes[lane_of(at, line)].append(body)

    def send(lane: list[bytes]) -> None:
        one = connection(server)
        for body in lane:
            post(one, body)

    threads = [threading.Thread(target=send, args=(lane,)) for lane in lanes]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return time.perf_counter() - began


def steady(server: Server, line: Line, bodies: list[bytes], per_second: float) -> np.ndarray:
    """Seconds of each request from when it was due until it was answered, at a steady rate."""
    lanes: list[Queue[tuple[float, bytes] | None]] = [Queue() for _ in range(CONNECTIONS)]
    taken: list[float] = []

    def send(waiting: Queue[tuple[float, bytes] | None]) -> None:
        one = connection(server)
        while (item := waiting.get()) is not None:
            post(one, item[1])
            taken.append(time.perf_counter() - item[0])

    threads = [threading.Thread(target=send, args=(lane,)) for lane in lanes]
    for thread in threads:
        thread.start()
    began = time.perf_counter()
    for at, body in enumerate(bodies):
        due = began + at / per_second
        time.sleep(max(0.0, due - time.perf_counter()))
        lanes[lane_of(at, line)].put((due, body))
    for lane in lanes:
        lane.put(None)
    for thread in threads:
        thread.join()
    return np.array(taken)


def processes(pid: int) -> list[int]:
    """A process and all below it."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(one for child in children for one in processes(int(child)))]


def usage(server: Server) -> tuple[float, float]:
    """Seconds of processor time of the server, and MiB of the process that owns the streams."""
    ticks, largest = 0.0, 0.0
    for pid in processes(server.process.pid):
        stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(stat[11]) + int(stat[12])
        maps = f"/proc/{pid}/fd"
        owns = any("streams.lock" in os.readlink(f"{maps}/{fd}") for fd in os.listdir(maps))
        if owns:
            largest = int(stat[21]) * os.sysconf("SC_PAGE_SIZE") / 2**20
    return ticks / os.sysconf("SC_CLK_TCK"), largest


def main() -> None:
    """Measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--streams", type=int, default=1000)
    parser.add_argument("--batch", type=int, default=100, help="rows of a request")
    parser.add_argument("--steady-batch", type=int, default=25, help="the same, at half the rate")
    parser.add_argument("--rows", type=int, default=0, help="send so many first, watching memory")
    parser.add_argument("--json", type=Path, help="also write what was seen here")
    options = parser.parse_args()
    line = Line(options.streams, options.batch)
    with tempfile.TemporaryDirectory() as home:
        line_model.release(Path(home))
        server = start_server(Path(home), Path(home) / "log")
        try:
            said = measured(server, line, options)
        finally:
            server.stop()
    print(json.dumps(said, indent=1))
    if options.json:
        options.json.write_text(json.dumps(said, indent=1))


def measured(server: Server, line: Line, options: argparse.Namespace) -> dict[str, Any]:
    """What the server does."""
    one = connection(server)
    for at in range(options.streams):
        path = f"/v2/models/line/streams/L{at % 20}.s{at}"
        while True:
            one.request("PUT", path, json.dumps(SETTINGS))
            answer = one.getresponse()
            said = answer.read()
            if answer.status != 503:  # nobody owns the streams in the first moments
                break
            time.sleep(0.1)
        assert answer.status == 200, said[:500]
    fast(server, line, line.requests(line_model.STEPS))  # windows are full from here on
    memory = [round(usage(server)[1], 1)]
    sent = 0
    while sent < options.rows:
        fast(server, line, line.requests(250))
        sent += 250 * options.streams
        memory.append(round(usage(server)[1], 1))
        print(f"{sent} rows, {memory[-1]} MiB", file=sys.stderr, flush=True)
    rounds = max(1, round(GOAL * options.seconds / options.streams))
    bodies = line.requests(rounds)
    before = usage(server)[0]
    seconds = fast(server, line, bodies)
    rows = rounds * options.streams
    cpu = usage(server)[0] - before
    half, line.batch = GOAL / 2, options.steady_batch
    bodies = line.requests(max(1, round(half * options.seconds / options.streams)))
    waits = 1000 * steady(server, line, bodies, half / line.batch)
    one = connection(server)
    one.request("GET", "/v2/alarms?limit=1000")
    alarms = json.loads(one.getresponse().read())
    return {
        "rows_per_second": round(rows / seconds),
        "goal": GOAL,
        "microseconds_of_cpu_a_row": round(1e6 * cpu / rows, 1),
        "at_rows_per_second": half,
        "row_p50_ms": round(float(np.percentile(waits, 50)), 2),
        "row_p99_ms": round(float(np.percentile(waits, 99)), 2),
        "goal_p99_ms": GOAL_MS,
        "alarms": len(alarms["alarms"]),
        "memory_mib": memory,
        "rows_a_request": [options.batch, options.steady_batch],
        "streams": options.streams,
        "processors": len(os.sched_getaffinity(0)),
    }


if __name__ == "__main__":
    main()

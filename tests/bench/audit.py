"""What recording costs: `python tests/bench/audit.py [--seconds 4] [--json out.json]`.

Building a prediction's record (CPU time of one thread), and records a second made durable,
beside raw sqlite3 inserts of the same rows into the same tables with synchronous=FULL.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sqlite3
import subprocess
import sys
import tempfile
import time
import timeit
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import rfc8785
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from service.audit.arrays import described, encode_array
from service.audit.canonical import canonical
from service.audit.keyholder import Keyholder
from service.audit.log_writer import LogWriter
from service.audit.record import Payload, Record, build, new_id, timestamp
from service.audit.store import RecordStore
from service.audit.writer import RecordWriter

CONCURRENCY = 64
ENVIRONMENT = {
    "python": "3.11.7",
    "platform": "Linux-6.1-x86_64-with-glibc2.36",
    "machine": "x86_64",
    "processor": {"name": "processor", "instruction_sets": [f"avx512_{n}" for n in range(21)]},
    "packages_sha256": "0" * 64,
    "onnxruntime": {"provider": "CPUExecutionProvider", "threads": 2, "graph_optimisation": "all"},
}
MODEL = {
    "name": "lenet5-digits",
    "version": "1",
    "manifest_sha256": "1" * 64,
    "card_sha256": "2" * 64,
    "graphs": {"predict": "3" * 64},
}
IMAGE = np.kron(np.arange(16, dtype=np.uint8).reshape(4, 4), np.ones((8, 8), np.uint8))[None, None]
OUTPUTS: dict[str, Any] = {
    "probabilities": np.linspace(0.01, 0.19, 10, dtype=np.float32)[None],
    "label": np.array(["7"], dtype=object),
    "confidence": np.array([0.9876], np.float32),
}


def content(started_at: datetime) -> dict[str, Any]:
    """What the record of a LeNet-5 prediction says."""
    return {
        "request_id": "01890a5d-ac96-774b-bcce-b302099a8057",
        "trace_id": None,
        "caller": "anonymous",
        "started_at": timestamp(started_at),
        "ended_at": timestamp(datetime.now(UTC)),
        "service": {"name": "glassline", "version": "0.1.0", "host": "host", "pid": 4242},
        "model": MODEL,
        "environment": ENVIRONMENT,
        "inputs": [described("image", IMAGE, content=False)],
        "outputs": [described(name, value, content=True) for name, value in OUTPUTS.items()],
        "decision": {"labels": ["7"], "confidence": [0.9876], "threshold": None},
        "reproducibility": "bit-exact",
    }


def prediction() -> Record:
    """The record of a LeNet-5 prediction, with its input."""
    now = datetime.now(UTC)
    payload = Payload("image", "application/x-npy", encode_array(IMAGE))
    columns = {"model": "lenet5-digits", "version": "1", "decision": "7", "score": 0.9876}
    return build("prediction", new_id(), now, content(now), columns, (payload,))


def microseconds(call: Callable[[], object]) -> float:
    """CPU time of a call in the best of many short rounds."""
    timer = timeit.Timer(call, timer=time.process_time)
    return min(timer.repeat(40, 200)) / 200 * 1e6


def building() -> dict[str, float]:
    """Microseconds of the steps of building a record."""
    now = datetime.now(UTC)
    said = content(now)
    payload = Payload("image", "application/x-npy", encode_array(IMAGE))
    body = json.loads(prediction().body)
    return {
        "the whole record": microseconds(prediction),
        "build() alone": microseconds(lambda: build("x", new_id(), now, said, {}, (payload,))),
        "canonical() alone": microseconds(lambda: canonical(body)),
        "rfc8785.dumps() alone": microseconds(lambda: rfc8785.dumps(body)),
    }


def a_log(url: str) -> LogWriter:
    """The log in this SQLite file, its key beside it."""
    folder = Path(url.removeprefix("sqlite:///")).with_suffix(".keys")
    return LogWriter(RecordStore(url), Keyholder(folder, environment={}), "bench.example/log")


async def load(writer: RecordWriter, until: float) -> list[float]:
    """Seconds of each append, from CONCURRENCY callers who each wait for an answer."""
    waits: list[float] = []

    async def caller() -> None:
        while time.time() < until:
            record = prediction()
            start = time.perf_counter()
            await writer.submit(record)
            waits.append(time.perf_counter() - start)

    await asyncio.gather(*(caller() for _ in range(CONCURRENCY)))
    return waits


def work(url: str, start: float, seconds: float) -> None:
    """One writing process: prints how long each append took."""
    log = a_log(url)
    writer = RecordWriter(log)
    time.sleep(max(0.0, start - time.time()))
    waits = asyncio.run(load(writer, start + seconds))
    writer.close()
    log.store.close()
    sys.stdout.write(json.dumps(waits))


def ours(processes: int, seconds: float, folder: str) -> dict[str, float]:
    """Records a second, and milliseconds until an answer, with so many writing processes."""
    url = f"sqlite:///{folder}/ours-{processes}.db"
    a_log(url).store.close()
    arguments = [sys.executable, __file__, "--work", url, str(time.time() + 3), str(seconds)]
    running = [
        subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) for _ in range(processes)
    ]
    waits = [np.array(json.loads(process.communicate()[0])) for process in running]
    every = np.concatenate(waits)
    return {
        "records_per_second": len(every) / seconds,
        "p50_ms": float(np.percentile(every, 50)) * 1e3,
        "p99_ms": float(np.percentile(every, 99)) * 1e3,
        "max_ms": float(every.max()) * 1e3,
        "least_busy_process_share": min(map(len, waits)) / len(every),
    }


def raw(group: int, seconds: float, folder: str) -> dict[str, float]:
    """Records a second of plain sqlite3, rows made beforehand, so many to a transaction."""
    path = Path(folder) / f"raw-{group}.db"
    RecordStore(f"sqlite:///{path}").close()
    rows = [(r.row(), r.payload_rows()[0]) for r in (prediction() for _ in range(2000))]
    for row, _ in rows:
        row["created_at"] = row["created_at"].isoformat(" ")
    inserts = [
        f"INSERT INTO {table} ({', '.join(row)}) VALUES ({', '.join(':' + name for name in row)})"
        for table, row in zip(("records", "payloads"), rows[0], strict=True)
    ]
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA synchronous = FULL")
    done, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        connection.execute("BEGIN IMMEDIATE")
        for _ in range(group):
            for insert, row in zip(inserts, rows[done % len(rows)], strict=True):
                key = "id" if "id" in row else "record_id"
                connection.execute(insert, {**row, key: str(done)})
            done += 1
        connection.execute("COMMIT")
    rate = done / (time.perf_counter() - start)
    connection.close()
    return {"records_per_second": rate}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=4.0, help="seconds of each measurement")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    parser.add_argument("--work", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        work(options.work[0], float(options.work[1]), float(options.work[2]))
        return
    costs = building()
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        rates = {
            "raw sqlite3, one by one": raw(1, options.seconds, folder),
            "raw sqlite3, groups of 64": raw(64, options.seconds, folder),
            f"1 process x {CONCURRENCY} callers": ours(1, options.seconds, folder),
            f"2 processes x {CONCURRENCY} callers": ours(2, options.seconds, folder),
        }
    table = Table("building a record", "µs CPU")
    for name, cost in costs.items():
        table.add_row(name, f"{cost:.0f}")
    console = Console()
    console.print(table)
    table = Table(
        "durable appends, SQLite", "records/s", "p50 ms", "p99 ms", "max ms", "least share"
    )
    for name, rate in rates.items():
        cells = [rate.get(key) for key in ("p50_ms", "p99_ms", "max_ms")]
        share = rate.get("least_busy_process_share")
        table.add_row(
            name,
            f"{rate['records_per_second']:,.0f}",
            *("" if cell is None else f"{cell:.1f}" for cell in cells),
            "" if share is None else f"{share:.2f}",
        )
    console.print(table)
    if options.json:
        options.json.write_text(json.dumps({"building_us": costs, "appends": rates}, indent=1))


if __name__ == "__main__":
    main()

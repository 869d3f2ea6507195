"""What recording costs: `python tests/bench/audit.py [--seconds 4] [--postgresql URL] [--json f]`.

Building a prediction's record (CPU time of one thread), and records a second made durable in the
signed log, each beside raw inserts of the same rows into the same tables of the same database:
SQLite with synchronous=FULL, PostgreSQL with synchronous_commit=on. `--postgresql` names an empty
database; `--read 0` leaves out the log of a million records, which takes minutes to write.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
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

from service.audit import schema
from service.audit.arrays import described, encode_array
from service.audit.canonical import canonical
from service.audit.keyholder import Keyholder
from service.audit.log import AuditLog
from service.audit.log_export import export_log
from service.audit.log_writer import LogWriter
from service.audit.record import Payload, Record, build, new_id, timestamp
from service.audit.rows import Insert
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


def a_log(url: str, keys: Path) -> LogWriter:
    """The log at this URL, its key in the folder."""
    return LogWriter(RecordStore(url), Keyholder(keys, environment={}), "bench.example/log")


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


def work(url: str, keys: str, start: float, seconds: float) -> None:
    """One writing process: prints how long each append took."""
    log = a_log(url, Path(keys))
    writer = RecordWriter(log)
    time.sleep(max(0.0, start - time.time()))
    waits = asyncio.run(load(writer, start + seconds))
    writer.close()
    log.store.close()
    sys.stdout.write(json.dumps(waits))


def ours(url: str, processes: int, seconds: float, folder: str) -> dict[str, float]:
    """Records a second, and milliseconds until an answer, with so many writing processes."""
    keys = f"{folder}/keys"
    a_log(url, Path(keys)).store.close()
    arguments = [
        sys.executable, __file__, "--work", url, keys, str(time.time() + 10), str(seconds),
    ]  # fmt: skip
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


def made(count: int = 8_000) -> list[Record]:
    """Records that were made beforehand."""
    return [prediction() for _ in range(count)]


def commits(log: LogWriter, group: int, seconds: float) -> dict[str, float]:
    """Records a second that the sequencer's part alone makes durable: tree, signatures, commit."""
    ready = made()
    done, start, cpu = 0, time.perf_counter(), time.process_time()
    while time.perf_counter() - start < seconds and done < len(ready):
        log.append(ready[done : done + group])
        done += group
    spent, busy = time.perf_counter() - start, time.process_time() - cpu
    return {"records_per_second": done / spent, "cpu_us_per_record": busy / done * 1e6}


def raw(store: RecordStore, group: int, seconds: float) -> dict[str, float]:
    """Records a second of the driver's own executemany, rows made beforehand."""
    tables = (schema.records, schema.payloads)
    records, inputs = (Insert(table, store.engine.dialect) for table in tables)
    rows = []
    for sequence, record in enumerate(made(), group * 10_000_000):
        more = {"sequence": sequence, "signature": bytes(64), "key_number": 0}
        row = records.parameters({**record.row(), **more})
        rows.append((row, inputs.parameters(record.payload_rows()[0])))
    done, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds and done < len(rows):
        with store.writing() as connection:
            part = rows[done : done + group]
            connection.exec_driver_sql(records.statement, [row for row, _ in part])
            connection.exec_driver_sql(inputs.statement, [row for _, row in part])
        done += group
    return {"records_per_second": done / (time.perf_counter() - start)}


def appended(name: str, url: str, seconds: float, folder: str) -> dict[str, dict[str, float]]:
    """All figures of one database."""
    log = a_log(url, Path(folder) / "keys")
    found = {
        f"{name}: raw inserts, one by one": raw(log.store, 1, seconds),
        f"{name}: raw inserts, groups of 64": raw(log.store, 64, seconds),
    }
    with log.store.writing() as connection:
        connection.exec_driver_sql("DELETE FROM payloads")
        connection.exec_driver_sql("DELETE FROM records")
    found[f"{name}: the log, groups of 64"] = commits(log, 64, seconds)
    found[f"{name}: the log, groups of 512"] = commits(log, 512, seconds)
    log.store.close()
    for processes in (1, 2):
        of = f"{name}: {processes} x {CONCURRENCY} callers who also build"
        found[of] = ours(url, processes, seconds, folder)
    return found


def reading(url: str, size: int, folder: str) -> dict[str, float]:
    """Milliseconds of inclusion proofs in a log of so many records, each read from the database."""
    log = a_log(url, Path(folder) / "keys")
    start = time.perf_counter()
    now = datetime.now(UTC)
    while (there := AuditLog(log.store).size()) < size:
        group = min(512, size - there)
        log.append([build("prediction", new_id(), now, {}, {}) for _ in range(group)])
    seconds = time.perf_counter() - start
    reader = AuditLog(log.store)
    waits = []
    for index in np.random.default_rng(0).integers(0, size, 500).tolist():
        begin = time.perf_counter()
        reader.inclusion(index, size)
        waits.append(time.perf_counter() - begin)
    log.store.close()
    return {
        "records": size,
        "built_in_s": seconds,
        "p50_ms": float(np.percentile(waits, 50)) * 1e3,
        "p99_ms": float(np.percentile(waits, 99)) * 1e3,
    }


def verifying(url: str, folder: str, size: int) -> dict[str, float]:
    """Seconds in which the stdlib verifier checks an exported log of so many records."""
    log = a_log(url, Path(folder) / "keys")
    while (there := AuditLog(log.store).size()) < size:
        log.append(made(min(512, size - there)))
    reader, target = AuditLog(log.store), Path(folder) / "export"
    export_log(target, reader.leaves(), reader.checkpoint(), reader.keys())
    log.store.close()
    start, cpu = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    command = [sys.executable, "-I", "-S", str(target / "verify.py"), str(target)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - start
    if done.returncode:
        raise SystemExit(done.stdout + done.stderr)
    cpu = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - cpu
    return {"records": size, "seconds": seconds, "cpu_seconds": cpu}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=4.0, help="seconds of each measurement")
    parser.add_argument("--postgresql", help="URL of an empty database: postgresql+psycopg://...")
    parser.add_argument("--read", type=int, default=1_000_000, help="records of the log read from")
    parser.add_argument("--verify", type=int, default=100_000, help="records that are verified")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    parser.add_argument("--work", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        work(*options.work[:2], *map(float, options.work[2:]))
        return
    said: dict[str, Any] = {"building_us": building()}
    console = Console()
    console.print(
        table("building a record: µs CPU", {k: {"": v} for k, v in said["building_us"].items()})
    )
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        said["appends"] = appended("SQLite", f"sqlite:///{folder}/a.db", options.seconds, folder)
        if options.postgresql:
            said["appends"] |= appended(
                "PostgreSQL", options.postgresql, options.seconds, f"{folder}/postgresql"
            )
        console.print(table("durable appends", said["appends"]))
        if options.verify:
            url = f"sqlite:///{folder}/v.db"
            said["verifying"] = verifying(url, f"{folder}/verify", options.verify)
            console.print(table("stdlib verifier", {"the whole log": said["verifying"]}))
        if options.read:
            url = f"sqlite:///{folder}/r.db"
            said["reading"] = reading(url, options.read, f"{folder}/read")
            console.print(table("inclusion proofs", {"SQLite": said["reading"]}))
    if options.json:
        options.json.write_text(json.dumps(said, indent=1))


def table(title: str, rows: dict[str, dict[str, float]]) -> Table:
    """Figures by name; a row lacks what was not measured of it."""
    columns = list(dict.fromkeys(name for row in rows.values() for name in row))
    shown = Table("", *columns, title=title)
    for name, row in rows.items():
        shown.add_row(name, *(f"{row[c]:,.2f}" if c in row else "" for c in columns))
    return shown


if __name__ == "__main__":
    main()

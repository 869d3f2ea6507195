"""Requests a second and latency, ours beside what else one could run: `make bench`.

Every server gets the same ONNX file, the same picture, one worker and one process of load on
the same machine, and is alive only while it is measured; a round measures each once, and the
rounds are interleaved, so that a slow minute of the machine hits all of them. Each answer is
checked against ONNX Runtime before its server is timed. Nothing here passes or fails.

  python tests/bench/serving.py --quick                      two minutes: LeNet-5, 8 connections
  python tests/bench/serving.py                              the whole table (about half an hour)
  python tests/bench/serving.py --only ours,starlette        who, by server or group
  python tests/bench/serving.py --seconds 30 --connections 8 stalls show in long runs
  python tests/bench/serving.py --only ours --recording both what recording costs

Who: ours, ours-explaining (explanations run all the while), ours-2-workers (on 4 cores or
more), ours-recording; starlette (the yardstick), fastapi, bentoml, litserve, mlserver;
onnxruntime (no server, one caller). The first run makes the competitors' environments below
.bench/, with pip; one that cannot be made is reported, and the others are measured.

Load is wrk's where wrk is installed, else our own asyncio client, which costs more of the
machine and so flatters slow servers. wrk corrects its percentiles for coordinated omission.
"stolen" is the share of time that the host of a virtual machine gave to others meanwhile: a
measurement that lost more than 3 % is repeated, three runs at most, and the least disturbed
one counts, whatever it says. Where many still show more, take more rounds.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.bench import figures, load, venvs
from tests.bench.lives import DoesNotServe, life, measure
from tests.bench.subjects import CORES, SUBJECTS, Subject
from tests.bench.variants import RAW, Server, chosen, environment

RESULTS = Path(__file__).with_name("results") / "serving.json"


def arguments() -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = [subject.name for subject in SUBJECTS]
    add = parser.add_argument
    add("--quick", action="store_true", help="one round, 2 s, 8 connections, LeNet-5")
    add("--only", default="", metavar="A,B", help="servers or groups (default: all)")
    add("--models", default=",".join(names), metavar="A,B", help=f"default {','.join(names)}")
    add("--connections", default="1,8,32", metavar="N,N", help="at a time; default 1,8,32")
    add("--seconds", type=float, default=5.0, help="of each measurement; default 5")
    add("--rounds", type=int, default=3, help="default 3; medians are shown")
    add(
        "--recording",
        choices=("on", "off", "both"),
        default="both",
        help="ours with predictions made durable first, without, or (default) both",
    )
    add("--generator", choices=("auto", "wrk", "asyncio"), default="auto", help="of load")
    add("--output", type=Path, default=RESULTS, help="JSON file; default %(default)s")  # fmt: skip
    options = parser.parse_args()
    if options.quick:
        options.models, options.connections = SUBJECTS[0].name, "8"
        options.seconds, options.rounds = min(options.seconds, 2.0), 1
    try:
        options.servers = chosen([n for n in options.only.split(",") if n], options.recording)
        options.generator = load.generator(options.generator)
        options.connections = [int(n) for n in options.connections.split(",")]
    except ValueError as error:
        parser.error(str(error))
    options.subjects = [s for s in SUBJECTS if s.name in options.models.split(",")]
    if not options.subjects or options.rounds < 1 or options.seconds < 1:
        parser.error(f"wanted models of {names}, at least 1 round and 1 second")
    return options


def environments(servers: list[Server], console: Console) -> tuple[list[Server], dict[str, str]]:
    """The servers that can be started, and why the others cannot."""
    able, missing = [], {}
    for server in servers:
        with console.status(f"environment of {server.name} (first time: pip)"):
            try:
                server.interpreter()
                able.append(server)
            except venvs.NotInstalled as error:
                missing[server.name] = f"cannot be installed: {error}"
    return able, missing


def raw(subject: Subject, seconds: float) -> dict[str, Any]:
    """ONNX Runtime with no server around it."""
    done = subprocess.run(
        [RAW.interpreter(), *RAW.arguments, str(seconds)],
        cwd=RAW.folder, text=True, check=True, capture_output=True, timeout=seconds + 60,
        env=environment(RAW, subject.graph(), subject.threads, 0, Path("unused")),
    )  # fmt: skip
    return {"form": "-", "connections": 1, **json.loads(done.stdout)}


def visit(server: Server, subject: Subject, options: argparse.Namespace) -> list[dict[str, Any]]:
    """One life of a server: every form of asking, every number of connections.

    Raises:
        DoesNotServe, subprocess.SubprocessError: it did not start or did not survive.
    """
    if server is RAW:
        return [raw(subject, options.seconds)]
    rows = []
    with tempfile.TemporaryDirectory(dir=venvs.FOLDER, prefix="life-") as folder:
        with life(server, subject, Path(folder)) as alive:
            for form in server.forms:
                for connections in options.connections:
                    found = measure(alive, form, connections, options.seconds, options.generator)
                    said = {"form": form.name, "connections": connections}
                    rows.append({**said, "start_seconds": alive.start_seconds, **found})
    return rows


def machine(options: argparse.Namespace) -> dict[str, Any]:
    """What the figures were measured on."""
    processor = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    revision = subprocess.run(
        ["git", "rev-parse", "HEAD"],
        cwd=venvs.REPOSITORY, capture_output=True, text=True, check=False,
    )  # fmt: skip
    groups = {server.group: server for server in (*options.servers,)}
    return {
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "revision": revision.stdout.strip(),
        "processor": processor[0] if processor else platform.processor(),
        "cores": CORES,
        "load_before": os.getloadavg()[0],
        "system": f"{platform.system()}, {platform.machine()}",
        "generator": options.generator,
        "seconds": options.seconds,
        "rounds": options.rounds,
        "versions": {name: venvs.versions(one.interpreter()) for name, one in groups.items()},
    }


def main() -> None:
    """Measure, print, write."""
    options = arguments()
    console = Console(width=132 if not sys.stdout.isatty() else None)
    progress = Console(stderr=True)
    venvs.FOLDER.mkdir(exist_ok=True)
    options.servers, missing = environments(options.servers, progress)
    for subject in options.subjects:
        with progress.status(f"graph of {subject.name} (first time: export)"):
            subject.graph()
    setting, rows, began = machine(options), [], time.monotonic()
    for number in range(options.rounds):
        for subject in options.subjects:
            for server in options.servers:
                label = f"round {number + 1}/{options.rounds} {subject.name} {server.name}"
                where = {"model": subject.name, "server": server.name, "round": number}
                try:
                    with progress.status(label):
                        found = visit(server, subject, options)
                except (DoesNotServe, subprocess.SubprocessError) as error:
                    missing[f"{server.name} ({subject.name}, round {number + 1})"] = str(error)
                    continue
                rows += [{**where, **row} for row in found]
                progress.print(f"{time.monotonic() - began:5.0f} s  {label}", markup=False)
    lines = figures.summary(rows)
    figures.show(console, lines, missing)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    document = {
        "machine": setting,
        "summary": lines,
        "figures": figures.goals(lines),
        "not_measured": missing,
        "measurements": rows,
    }
    options.output.write_text(json.dumps(document, indent=1) + "\n")
    console.print(f"written: {options.output}")


if __name__ == "__main__":
    main()

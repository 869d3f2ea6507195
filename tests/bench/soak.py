"""Ten minutes at 80 % of peak: does memory stay flat, does every request get its answer?

  python tests/bench/soak.py                        ten minutes, recording on, as by default
  python tests/bench/soak.py --minutes 1 --share 0.5
  python tests/bench/soak.py --recording off

It finds the peak of LeNet-5 over binary tensors first, then paces 32 connections to the
wanted share of it, and looks at the memory of every process of the server (proportional set
size: what is shared is divided) each five seconds. Needs wrk and Linux.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from rich.console import Console
from rich.progress import track
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.bench import load, venvs
from tests.bench.lives import Life, life
from tests.bench.subjects import SUBJECTS
from tests.bench.variants import ours

RESULTS = Path(__file__).with_name("results") / "soak.json"
CONNECTIONS = 32
LOOK_SECONDS = 5.0
PEAK_SECONDS = 10.0
#: Memory that a process takes in its first minutes is warming up, not leaking.
WARM_SHARE = 0.3


def arguments() -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=10.0, help="default 10")
    parser.add_argument("--share", type=float, default=0.8, help="of peak; default 0.8")
    parser.add_argument("--recording", choices=("on", "off"), default="on", help="default on")
    parser.add_argument("--output", type=Path, default=RESULTS, help="default %(default)s")
    options = parser.parse_args()
    if not (0 < options.share <= 1 and options.minutes > 0):
        parser.error("wanted a share in (0, 1] and more than 0 minutes")
    return options


def memory(server: psutil.Process) -> dict[str, float]:
    """Proportional set size of each process of the server, in MiB, by what it does."""
    found: dict[str, float] = {}
    for process in (server, *server.children(recursive=True)):
        try:
            line = " ".join(process.cmdline())
            size = process.memory_full_info().pss / 2**20
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
        role = next((name for key, name in _ROLES.items() if key in line), "other")
        found[role] = found.get(role, 0.0) + size
    return found


_ROLES = {
    "service.audit.sequencer": "records",
    "glassline-explainer": "explainer",
    "--service-name glassline ": "predicting",
    "bentoml serve": "supervisor",
    "service.cli": "launcher",
}


def paced(
    alive: Life, pause: float, seconds: float, body: Path, headers: dict[str, str]
) -> list[str]:
    """The command of a run in which each connection pauses so many milliseconds."""
    form = alive.server.forms[0]
    url = f"http://127.0.0.1:{alive.port}{form.path}"
    command = load.command("wrk", url, body, headers, seconds, CONNECTIONS)
    command[command.index("--script") + 1] = str(Path(__file__).with_name("soak.lua"))
    command.insert(command.index("--") + 1, f"{pause:.3f}")
    return command


def pause_for(alive: Life, rate: float, body: Path, headers: dict[str, str]) -> float:
    """Milliseconds of pause at which the connections together ask `rate` times a second."""
    pause = CONNECTIONS / rate * 1e3
    for _ in range(4):
        found = load.run(paced(alive, pause, 4, body, headers), 4)
        cycle = CONNECTIONS / found["requests_per_second"] * 1e3
        pause = max(0.0, pause + CONNECTIONS / rate * 1e3 - cycle)
    return pause


def soak(alive: Life, options: argparse.Namespace, process: psutil.Process) -> dict[str, Any]:
    """Peak, pace, and the long run."""
    form = alive.server.forms[0]
    content, headers = form.body(alive.subject.image())
    body = alive.folder / "body"
    body.write_bytes(content)
    url = f"http://127.0.0.1:{alive.port}{form.path}"
    peak = load.run(
        load.command("wrk", url, body, headers, PEAK_SECONDS, CONNECTIONS), PEAK_SECONDS
    )["requests_per_second"]
    pause = pause_for(alive, options.share * peak, body, headers)
    seconds = options.minutes * 60
    command = paced(alive, pause, seconds, body, headers)
    looks: list[dict[str, float]] = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as running:
        count = int(seconds / LOOK_SECONDS)
        for _ in track(range(count), "soaking", console=Console(stderr=True)):
            looks.append({"second": len(looks) * LOOK_SECONDS, **memory(process)})
            time.sleep(LOOK_SECONDS)
        said, _ = running.communicate(timeout=load.TIMEOUT_SECONDS)
    return {"peak": peak, "pause_ms": pause, **load.figures(said), "memory": looks}


def growth(looks: list[dict[str, float]], role: str) -> tuple[float, float, float]:
    """First and last MiB after the warm-up (medians of a tenth each), and MiB an hour between."""
    series = [(look["second"], look[role]) for look in looks if role in look]
    warm = series[int(len(series) * WARM_SHARE) :]
    tenth = max(1, len(warm) // 10)
    times, sizes = np.array(warm).T
    slope = float(np.polyfit(times, sizes, 1)[0] * 3600) if len(warm) > 1 else 0.0
    return float(np.median(sizes[:tenth])), float(np.median(sizes[-tenth:])), slope


def main() -> None:
    """Soak, print, write."""
    options = arguments()
    console = Console(width=100 if not sys.stdout.isatty() else None)
    load.generator("wrk")
    venvs.FOLDER.mkdir(exist_ok=True)
    (server,) = (s for s in ours(options.recording) if s.name in ("ours", "ours-recording"))
    with tempfile.TemporaryDirectory(dir=venvs.FOLDER, prefix="soak-") as folder:
        with life(server, SUBJECTS[0], Path(folder)) as alive:
            (process,) = (
                child
                for child in psutil.Process().children()
                if "serve" in " ".join(child.cmdline())
            )
            found = soak(alive, options, process)
    share = found["requests_per_second"] / found["peak"]
    console.print(
        f"{found['requests']:,} requests in {found['seconds'] / 60:.1f} min at "
        f"{found['requests_per_second']:,.0f}/s ({share:.0%} of the peak of {found['peak']:,.0f}/s)"
        f"\nerrors {int(found['errors'])}; p50 {found['p50_ms']:.2f} ms, p99 {found['p99_ms']:.2f} "
        f"ms, max {found['max_ms']:.1f} ms"
    )
    table = Table("process", "MiB when warm", "MiB at the end", "MiB an hour")
    for role in [name for name in found["memory"][-1] if name != "second"]:
        table.add_row(role, *(f"{value:,.1f}" for value in growth(found["memory"], role)))
    console.print(table)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps({"share": share, **found}, indent=1) + "\n")
    console.print(f"written: {options.output}")


if __name__ == "__main__":
    main()

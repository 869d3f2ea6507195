"""`act` beside the tensor route of the same policy: latency, requests a second, explanations.

One server with one worker; rounds of both routes take turns, so that a slow minute of the machine
hits both, and the ratio of their medians is what counts. A policy that the home lacks is learnt
first, for some seconds: what it is worth does not matter here.

    python tests/bench/act.py                    two minutes
    python tests/bench/act.py --seconds 5 --rounds 7 --generator wrk
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import httpx

from tests.bench import load
from tests.running_server import REPOSITORY, start_server

MODEL = "policy-cartpole"
STATE = [0.01, -0.2, 0.03, 0.25]
BODIES: dict[str, dict[str, Any]] = {
    "act": {"state": STATE},
    "infer": {
        "inputs": [
            {"name": "observation", "datatype": "FP32", "shape": [1, 4], "data": STATE},
        ]
    },
}
EXPLAINED = 40


def explain_ms(url: str) -> float:
    """Median of explanations over HTTP, each of another state."""
    took = []
    with httpx.Client(base_url=url, timeout=60, trust_env=False) as client:
        for number in range(EXPLAINED):
            body = json.loads(json.dumps(BODIES["infer"]))
            body["inputs"][0]["data"][0] = number / 1000
            start = time.perf_counter()
            answer = client.post(f"/v2/models/{MODEL}/explain", json=body)
            took.append(1e3 * (time.perf_counter() - start))
            answer.raise_for_status()
    return statistics.median(took)


def measured(url: str, told: argparse.Namespace) -> dict[str, dict[int, list[dict[str, float]]]]:
    """Figures by route and number of connections, one a round."""
    found: dict[str, dict[int, list[dict[str, float]]]] = {
        route: {1: [], told.connections: []} for route in BODIES
    }
    headers = {"Content-Type": "application/json"}
    with tempfile.TemporaryDirectory() as folder:
        for number in range(told.rounds):
            for connections in (1, told.connections):
                for route in sorted(BODIES, reverse=bool(number % 2)):
                    file = Path(folder) / f"{route}.json"
                    file.write_text(json.dumps(BODIES[route]))
                    command = load.command(
                        told.generator, f"{url}/v2/models/{MODEL}/{route}", file, headers,
                        told.seconds, connections,
                    )  # fmt: skip
                    one = load.run(command, told.seconds)
                    assert not one["errors"], one
                    found[route][connections].append(one)
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--home", type=Path, help="a Glassline home; default: a new one")
    parser.add_argument("--seconds", type=float, default=4.0, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=5, help="medians are shown")
    parser.add_argument("--connections", type=int, default=8, help="besides one")
    parser.add_argument("--recording", choices=("all", "none"), default="all")
    parser.add_argument("--generator", choices=("auto", "wrk", "asyncio"), default="auto")
    told = parser.parse_args()
    told.generator = load.generator(told.generator)
    with tempfile.TemporaryDirectory() as own:
        home = (told.home or Path(own)).resolve()
        subprocess.run(
            [sys.executable, "-c", "from service.cli import main; main()", "train", "policy",
             "--if-missing", "--steps", "8192", "--evaluate-every", "4096", "--measured", "5"],
            env={**os.environ, "GLASSLINE_HOME": str(home)}, cwd=REPOSITORY, check=True,
        )  # fmt: skip
        server = start_server(
            home, Path(own) / "server.log",
            GLASSLINE_WORKERS="1", GLASSLINE_RECORD_PREDICTIONS=told.recording,
        )  # fmt: skip
        try:
            explain_ms(server.url)  # the explaining process warms up
            explained = explain_ms(server.url)
            found = measured(server.url, told)
        finally:
            server.stop()
    print("| connections | route | p50 ms | p99 ms | requests/s | beside infer |")
    print("|---|---|---|---|---|---|")
    for connections in (1, told.connections):
        for route in BODIES:
            rounds = found[route][connections]
            p50, p99, rate = (
                statistics.median(one[name] for one in rounds)
                for name in ("p50_ms", "p99_ms", "requests_per_second")
            )
            ratios = [
                one["requests_per_second"] / other["requests_per_second"]
                for one, other in zip(rounds, found["infer"][connections], strict=True)
            ]
            beside = f"{statistics.median(ratios):.2f}"
            print(f"| {connections} | {route} | {p50:.3f} | {p99:.2f} | {rate:,.0f} | {beside} |")
    print(f"an explanation of one state over HTTP: {explained:.1f} ms (median of {EXPLAINED})")
    print(f"predictions recorded: {told.recording}")


if __name__ == "__main__":
    main()
